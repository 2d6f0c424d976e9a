import shutil
from pathlib import Path

import pandas as pd
import pytest

from ifcore import io, loading
from ifcore.tokens import tokenise
from study import config, datasets
from study.estimate import durations
from study.estimate.jobs import list_jobs

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(tmp_path):
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    return config.make_run("smoke", root=tmp_path)


def test_without_a_record_a_job_takes_its_tokens_at_the_speed_and_its_start(run):
    jobs = {job.name: job for job in list_jobs(run)}
    slow, fast = (durations.expected_durations(run, speed, ["facts"]) for speed in (10.0, 20.0))
    table6 = jobs["table6"]
    split = datasets.load("mixed_small", **run.profile.datasets["mixed_small"].sizes, seed=0)
    tokens = list(map(len, tokenise(loading.load(run.profile.model)[1], split.train + split.val + split.dev)))
    expected = table6.passes * sum(tokens) / len(tokens) / 10
    assert slow["table6"].seconds == pytest.approx(durations.START + expected)
    assert fast["table6"].seconds == pytest.approx(durations.START + expected / 2)
    linear = next(name for name in jobs if name.startswith("errors"))
    assert slow[linear] == fast[linear]  # which no model is needed for
    assert slow["facts"] == durations.Duration(durations.CHAPTER)


def test_a_record_is_taken_in_proportion_to_the_job_and_to_the_speed(run):
    job = next(job for job in list_jobs(run) if job.name == "table6")
    rows = [("table6", job.passes / 2, 30.0, 900.0, 10.0), ("facts", 0, 8.0, 500.0, 10.0)]
    file = run.root / "results" / "published" / "smoke" / "jobs.csv"
    io.write_csv(file, pd.DataFrame(rows, columns=durations.COLUMNS))
    expected = durations.expected_durations(run, None, ["facts", "controls"])
    assert expected["table6"] == durations.Duration(60.0, True, 900.0)
    assert expected["facts"] == durations.Duration(8.0, True, 500.0)
    assert not expected["controls"].is_recorded
    slower = durations.expected_durations(run, 5.0, ["facts", "controls"])
    assert (slower["table6"].seconds, slower["facts"].seconds) == (120.0, 16.0)


def test_a_job_is_recorded_with_the_stages_that_none_before_it_made(run, monkeypatch):
    names = [job.name for job in list_jobs(run)]
    for number, name in enumerate(names):
        stages = {"a/fine-tune.json": 100.0, f"{number}/x.json": 7.0}
        io.write_json(durations.record_file(run, name), {"stages": stages})
        file = durations.benchmark_file(run, name)
        file.write_text("s\tmax_rss\n" + ("40\t321.5\n" if number == 1 else "2\t100\n"))
    durations.benchmark_file(run, "facts").write_text("s\tmax_rss\n9.5\t200\n")
    monkeypatch.setattr(durations, "measured_speed", lambda _: 123.44)
    table = durations.recorded_durations(run, ["facts"]).set_index("name")
    assert set(table.speed) == {123.4}
    assert list(table.index) == [*names, "facts"]
    first, second, third = names[:3]
    assert table.seconds[first] == durations.START + 107  # found by the others
    assert (table.seconds[second], table.megabytes[second]) == (40.0, 322)  # what lasted longer than its stages
    assert table.seconds[third] == durations.START + 7
    assert table.seconds["facts"] == 9.5
    assert durations.record_file(run, names[0]).parent == run.shared / "jobs"  # the alignment, of all seeds
