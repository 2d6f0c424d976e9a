import json
import shutil
import sys
from functools import partial
from pathlib import Path

import pytest

from ifcore import io
from study import config
from study.commands import compute
from study.estimate import jobs
from study.pipeline import stages

ROOT = Path(__file__).parents[3]


def made(folder):
    stages.Stage(folder, "fine-tune", {}).make(lambda: [], made_by=compute.compute)


def failed():
    raise KeyError("a bug")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Calls the command for a job of that name: call(name) -> exit code. Two jobs: "a" makes a stage, "b" fails."""
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages, "SECONDS", {})
    monkeypatch.setenv("IFCORE_EVENTS", str(tmp_path / "events"))
    run = config.make_run("smoke", root=tmp_path)
    functions = {"a": partial(made, run.artifacts / "a"), "b": partial(failed)}
    listed = [jobs.Job(name, (function,), frozenset(), {}) for name, function in functions.items()]
    monkeypatch.setattr(jobs, "list_jobs", lambda _: listed)

    def call(name):
        monkeypatch.setattr(sys, "argv", ["compute", "notebooks/profiles/smoke.yaml", "0", name, f"{name}.json"])
        return compute.main()

    return call


def read_events(folder):
    return [json.loads(line) for line in (folder / "events").read_text().splitlines()]


def test_a_job_leaves_how_long_its_stages_took_made_or_found(call, tmp_path):
    for _ in range(2):
        assert call("a") == 0
        (path, seconds), *rest = io.read_json(tmp_path / "a.json")["stages"].items()
        assert path.endswith("artifacts/smoke/seed-0/a/fine-tune.json") and seconds >= 0 and not rest
    assert [event["state"] for event in read_events(tmp_path)] == 2 * ["begun", "made"]


def test_a_job_that_fails_says_so_whatever_it_is_and_leaves_no_record(call, tmp_path, capsys):
    with pytest.raises(KeyError):
        call("b")
    *_, last = read_events(tmp_path)
    assert (last["state"], last["error"]) == ("failed", "b: KeyError: 'a bug'")
    assert call("c") == 1
    assert capsys.readouterr().err == "job: 'c'; choose from a, b\n"
    assert not list(tmp_path.glob("*.json"))
