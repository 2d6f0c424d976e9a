"""How long the jobs and chapters of a run take: as recorded with what is published of its profile, or computed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import mean

import pandas as pd

from ifcore import io
from study.config import Run
from study.datasets import alignment
from study.estimate.counting import count_split, count_tokens, tokenizer_of
from study.estimate.jobs import ALIGNMENT, LINEAR, SECOND, Job, list_jobs
from study.estimate.speed import measured_speed, recorded_speed
from study.report.published import FOLDER

START = 5.0  # seconds of a job until it computes: imports, the model
CHAPTER = 15.0  # seconds of its kernel and imports, and of its tables and figures
COLUMNS = ["name", "passes", "seconds", "megabytes", "speed"]  # speed: tokens a second of the machine that took them


@dataclass(frozen=True)
class Duration:
    """Of a job or chapter: `is_recorded`, or computed from its tokens. `megabytes`: its memory, where recorded."""

    seconds: float
    is_recorded: bool = False
    megabytes: float | None = None


def expected_durations(run: Run, speed: float | None, chapters: Sequence[str]) -> dict[str, Duration]:
    """Name -> duration of each job and of these chapters, at a `speed` in tokens a second, of which `speed.py` knows.

    None: that of the machine whose durations are published, or as recorded for the default model.
    """
    file = published_file(run)
    rows = pd.read_csv(file).set_index("name") if file.is_file() else pd.DataFrame(columns=COLUMNS).set_index("name")
    tokens = _tokens_a_pass(run)
    expected = {}
    for job in list_jobs(run):
        if job.name in rows.index:
            row = rows.loc[job.name]
            seconds = row.seconds * job.passes / row.passes * row.speed / (speed or row.speed)
            expected[job.name] = Duration(seconds, True, row.megabytes)
        else:
            expected[job.name] = Duration(START + _computed_seconds(job, tokens, speed or recorded_speed(run)))
    for name in chapters:
        if name in rows.index:
            row = rows.loc[name]
            expected[name] = Duration(row.seconds * row.speed / (speed or row.speed), True, row.megabytes)
        else:
            expected[name] = Duration(CHAPTER)
    return expected


def published_file(run: Run) -> Path:
    """Where the durations of the published edition of the run's profile are, if there is one that has them."""
    return run.root / FOLDER / run.profile.name / "jobs.csv"


def recorded_durations(run: Run, chapters: Sequence[str]) -> pd.DataFrame:
    """What is published: a row for each job and chapter of a run that is made, from what Snakemake and they recorded,
    with the speed of this machine, measured now.

    A job's seconds are those that the stages took which no job before it had made: a job that was killed, or found its
    stages, says no less.
    """
    rows, known = list[tuple](), set[str]()
    for job in list_jobs(run):
        stages = io.read_json(record_file(run, job.name)).get("stages", {})
        seconds = sum(took for stage, took in stages.items() if stage not in known)
        known |= stages.keys()
        benchmark = pd.read_csv(benchmark_file(run, job.name), sep="\t").iloc[0]
        rows.append((job.name, job.passes, max(START + seconds, benchmark.s), benchmark.max_rss))
    for name in chapters:
        benchmark = pd.read_csv(benchmark_file(run, name), sep="\t").iloc[0]
        rows.append((name, 0, benchmark.s, benchmark.max_rss))
    table = pd.DataFrame(rows, columns=COLUMNS[:-1]).round({"passes": 0, "seconds": 1, "megabytes": 0})
    return table.assign(speed=round(measured_speed(run) or recorded_speed(run), 1))


def record_file(run: Run, job: str) -> Path:
    """What a job leaves when it is done; that of the alignment is all seeds'."""
    return (run.shared if job == ALIGNMENT else run.artifacts) / "jobs" / f"{job}.json"


def benchmark_file(run: Run, name: str) -> Path:
    """What Snakemake leaves of a job or a chapter: seconds, memory."""
    return record_file(run, name).with_suffix(".tsv")


def _computed_seconds(job: Job, tokens: Callable[[str], float], speed: float) -> float:
    """Of a job once it has started: linear models go by their passes, all else by its tokens."""
    passes = [item for by_dataset in job.parts.values() for item in by_dataset.items()]
    return sum(count / SECOND if dataset == LINEAR else count * tokens(dataset) / speed for dataset, count in passes)


def _tokens_a_pass(run: Run) -> Callable[[str], float]:
    """Data set -> the mean tokens of its examples, counted when asked for."""
    tokenizer = cache(lambda: tokenizer_of(run.located(run.profile.model)))

    @cache
    def tokens(dataset: str) -> float:
        if dataset == ALIGNMENT:
            counts = count_tokens(alignment.examples(8, 8, 8), tokenizer())
        else:
            sized = dataset if dataset in run.profile.datasets else next(iter(run.profile.datasets))
            counts = [count for part in count_split(run, sized, tokenizer()).values() for count in part]
        return mean(count.tokens for count in counts)

    return tokens
