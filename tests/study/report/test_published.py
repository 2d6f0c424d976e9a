import subprocess
from dataclasses import replace

import pandas as pd
import pytest

from ifcore import io
from study.report import provenance
from study.report.published import (
    join_published,
    key_columns,
    published_seeds,
    published_table,
    published_words,
)
from study.report.results import save_table
from study.report.table import Table, percent, with_published

FRAME = pd.DataFrame(
    {
        "dataset": "mixed_small",
        "method": ["exact", "repsim"],
        "metric": "coverage",
        "value": [0.5, 0.9],
        "epoch": [1, None],
    }
)


def publish(run, profile, *values, commit="c" * 40, digest="d"):
    """Write a published seed for each value of `exact`."""
    for seed, value in enumerate(values):
        folder = run.root / "results" / "published" / profile / f"seed-{seed}"
        frame = FRAME.assign(seed=seed, profile=profile, model="m")
        frame.loc[0, "value"] = value
        io.write_csv(folder / "t.csv", frame)
        io.write_json(folder / "run.json", {"commit": commit, "digest": digest})


def renamed(run, name):
    return replace(run, profile=run.profile.model_copy(update={"profile": name}))


def test_a_run_has_its_own_profiles_published_tables_and_others_have_those_with_more_seeds(run):
    def profiles(name):
        return set(published_table(renamed(run, name), "t").profile)

    assert published_table(run, "t") is None
    publish(run, "laptop", 0.1)
    assert profiles(run.profile.name) == profiles("laptop-0a1b") == {"laptop"}
    assert published_table(renamed(run, "evening"), "t") is None, "fewer examples say nothing of more"
    publish(run, "evening", 0.2, 0.4)
    assert profiles("laptop-0a1b") == {"evening"} and profiles("laptop") == {"laptop"}
    assert list(published_table(renamed(run, "evening"), "t").seed) == [0, 0, 1, 1]
    assert published_table(run, "another") is None
    publish(run, "laptop", 0.1, 0.2, 0.3)
    assert profiles("laptop-0a1b") == {"laptop"}, "three seeds allow a verdict"


def test_the_run_that_is_published_stands_beside_nothing(run):
    git = ["git", "-C", str(run.root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "x"], check=True)
    provenance.provenance.cache_clear()
    commit = provenance.provenance(run.root)["commit"]
    publish(run, "p", 0.1, commit=commit, digest=run.profile.digest)
    assert published_table(run, "t") is None
    publish(run, "p", 0.1, commit=commit, digest="another")
    assert published_table(run, "t") is not None
    io.write_text(run.root / ".gitignore", "*\n!/results/\n!/results/**\n")
    provenance.provenance.cache_clear()
    assert not provenance.provenance(run.root)["dirty"], "what is published is no change of the code"


def test_a_published_table_says_its_mean_and_spread_row_by_row_and_leaves_the_file_as_it_is(run):
    publish(run, "laptop", 0.1, 0.3)
    frame = save_table(run, "t", FRAME)
    assert list(frame.published) == pytest.approx([0.2, 0.9])
    assert list(frame.published_sd) == pytest.approx([0.02**0.5, 0])
    assert "published" not in pd.read_csv(run.results / "t.csv")
    assert join_published(FRAME.assign(further=1), published_table(run, "t")).equals(FRAME.assign(further=1))


def test_a_tables_cells_say_it_small_below_and_its_caption_whose_it_is(run):
    publish(run, "laptop", 0.1, 0.3)
    frame = save_table(run, "t", FRAME)
    cells = [
        [method, with_published(f"**{percent(rows.value.item())}**", rows)] for method, rows in frame.groupby("method")
    ]
    table = Table("tab-x", "A caption.", ["Method", "Coverage"], cells, frame)
    assert cells[0][1] == '**50.0**<br><small class="published">20.0 ± 14.1</small>'
    assert '<td><b>50.0</b><br><small class="published">20.0 ± 14.1</small></td>' in table._repr_html_()
    first = table._repr_markdown_().splitlines()[0]
    assert first.endswith("A caption. Small: published.")
    assert published_words(run) == "mean ± s.d. over seeds 0, 1 of the profile laptop"


def test_where_nothing_is_published_a_table_is_as_if_there_were_no_such_thing(run):
    frame = save_table(run, "t", FRAME)
    assert not any(name.startswith("published") for name in frame)
    assert with_published("50.0", frame[:1]) == "50.0"
    assert Table(None, "A caption.", ["a"], [["50.0"]], frame)._repr_markdown_().startswith("A caption.\n")


def test_rows_are_told_apart_by_text_by_whole_numbers_and_by_fractions_only_where_needed():
    frame = FRAME.assign(damping=[0.1, 0.1], p=[0.3, 0.2], n_val=[4, 4], seed=0, profile="p")
    assert key_columns(frame) == ["dataset", "method", "metric", "epoch"]
    twice = pd.concat([frame, frame.assign(damping=0.01, p=[0.25, 0.35])])
    assert key_columns(twice) == ["dataset", "method", "metric", "epoch", "damping"]


def test_verdicts_stand_beside_those_of_as_many_examples_at_least(run):
    assert published_seeds(run) == []
    publish(run, "evening", 0.2, 0.4)  # of which no verdict can be had
    assert published_seeds(renamed(run, "laptop")) == published_seeds(renamed(run, "evening")) == []
    publish(run, "laptop", 0.1, 0.2, 0.3)
    for name in ("laptop", "laptop-0a1b"):
        assert [folder.parent.name for folder in published_seeds(renamed(run, name))] == ["laptop"] * 3
    assert published_seeds(renamed(run, "evening")) == []
    publish(run, "evening", 0.2, 0.4, 0.6)
    for name in ("laptop", "laptop-0a1b", "evening"):
        assert [folder.parent.name for folder in published_seeds(renamed(run, name))] == ["evening"] * 3
    publish(run, "laptop", 0.1, 0.2, 0.3, 0.4)  # more of them, which verdicts take
    assert [folder.parent.name for folder in published_seeds(renamed(run, "laptop"))] == ["laptop"] * 4
    assert [folder.parent.name for folder in published_seeds(renamed(run, "evening"))] == ["evening"] * 3
