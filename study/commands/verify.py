"""Compare a run's tables with the published ones of the same profile and seed, value by value: `make verify`.

A value agrees where it is equal to a relative 1e-6. It differs within noise where it lies inside the published 95 %
interval, or within two standard deviations of the mean of the published seeds; an end of an interval, where it has
moved by at most half the published interval's width, or lies within two standard deviations likewise. Anything else
differs: a count that is not equal, or a value that has neither an interval nor several published seeds. Rows are
matched by their text and by numbers that are settings rather than results. Seconds, minutes and memory depend on the
machine and are left out. Where all published seeds ran, the verdicts on the claims are compared, too: opposite verdicts
differ; where one of the two is inconclusive, they differ within noise.

Exit code: 0 where nothing differs; 1 where a value differs, or a published table or row is missing; 2 where there is
nothing to compare. make turns any but 0 into 2.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from ifcore import io
from study.claims import claims, verdicts
from study.commands.error_lines import one_line_errors
from study.config import find_root
from study.report.published import FOLDER, MEASURED, SCORECARD, SEPARATOR, key_columns, row_keys
from study.report.results import read_tables

EQUAL = 1e-6  # relative
SPREAD = 2  # standard deviations
MACHINE = re.compile("seconds|minutes|memory|bytes")  # in the name of a metric or a column: not compared


@dataclass
class Comparison:
    """How many values of a table agree and differ within noise, and a line for each that differs."""

    table: str
    seed: str
    agree: int = 0
    noise: int = 0
    left_out: int = 0
    further: int = 0  # rows that are not published
    differ: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        line = f"{self.table}, {self.seed}: {self.agree} agree, {self.noise} within noise, {len(self.differ)} differ"
        line += f"; {self.left_out} that depend on the machine left out" if self.left_out else ""
        return line + (f"; {self.further} rows more than published" if self.further else "")


def verify(root: Path, profile: str, seeds: list[int] | None = None) -> list[Comparison]:
    """A comparison for each published table of each seed that both have, or of each of `seeds`."""
    editions, results = root / FOLDER, root / "results" / profile
    published = sorted(folder.name for folder in (editions / profile).glob("seed-*"))
    if not published:
        profiles = sorted({folder.parent.name for folder in editions.glob("*/seed-*")})
        remedy = f"choose from {', '.join(profiles)}" if profiles else "nothing is published"
        raise ValueError(f"PROFILE={profile}: no tables of it in {FOLDER}; {remedy}")
    names = [f"seed-{seed}" for seed in seeds or ()] or [name for name in published if (results / name).exists()]
    if not names:
        remedy = f"make book PROFILE={profile} SEED={published[0].removeprefix('seed-')} first"
        raise ValueError(f"results/{profile}: no seed that is published; {remedy}")
    for name in names:
        _check_seed(editions / profile, results, name, published)
    comparisons = [comparison for name in names for comparison in _compare_seed(editions / profile, results, name)]
    scorecard = editions / profile / SCORECARD
    if set(names) == set(published) and scorecard.is_file():
        tables = read_tables(results / name for name in names)
        comparisons.append(compare_verdicts(io.read_csv(scorecard), verdicts.judge_claims(claims.claims(), tables)))
    return comparisons


def _check_seed(edition: Path, results: Path, name: str, published: list[str]) -> None:
    """That a seed was published and run, with the same profile."""
    profile, seed = results.name, name.removeprefix("seed-")
    if name not in published:
        choice = ", ".join(folder.removeprefix("seed-") for folder in published)
        raise ValueError(f"SEED={seed}: not published of {profile}; choose from {choice}")
    if not (results / name).exists():
        raise ValueError(f"results/{profile}/{name}: not run; make book PROFILE={profile} SEED={seed} first")
    digest, wanted = (io.read_json(folder / name / "run.json").get("digest") for folder in (results, edition))
    if digest != wanted:
        problem = f"made with digest {digest}, published with {wanted}"
        remedy = f"take notebooks/profiles/{profile}.yaml from Git and make book PROFILE={profile}"
        raise ValueError(f"results/{profile}/{name}: {problem}; {remedy}")


def compare_verdicts(published: pd.DataFrame, run: pd.DataFrame) -> Comparison:
    """The verdicts of two scorecards, claim by claim."""
    comparison, verdict_of = Comparison("scorecard", "all seeds"), run.set_index("claim").verdict
    for claim, verdict in zip(published.claim, published.verdict, strict=True):
        if claim not in verdict_of:
            comparison.differ.append(f"scorecard, {claim}: the claim is missing")
        elif verdict_of[claim] == verdict:
            comparison.agree += 1
        elif not {verdict, verdict_of[claim]} <= {verdicts.SUPPORTED, verdicts.NOT_SUPPORTED}:
            comparison.noise += 1
        else:
            comparison.differ += [f"scorecard, {claim}: verdict published {verdict}, this run {verdict_of[claim]}"]
    return comparison


def compare(table: str, seed: str, published: pd.DataFrame, run: pd.DataFrame, all_seeds: pd.DataFrame) -> Comparison:
    """A table of one seed as published and as run; `all_seeds` has the rows of all published seeds."""
    comparison = Comparison(table, seed)
    if missing := [name for name in published if name not in run]:
        comparison.differ += [f"{table}, {seed}: the column {name} is missing" for name in missing]
        return comparison
    by = [name for name in key_columns(all_seeds) if not MACHINE.search(name)]
    published, run, all_seeds = (_indexed(frame, by) for frame in (published, run, all_seeds))
    comparison.further = len(run.index.difference(published.index))
    labels = f"{table}, {seed}, " + _labels(published, by)
    in_both = published.index.isin(run.index)
    comparison.differ += [f"{label}: the row is missing" for label in labels[~in_both]]
    published, labels = published[in_both], labels[in_both]
    run = run.loc[published.index]
    timed = published.metric.str.contains(MACHINE) if "metric" in published else pd.Series(False, published.index)
    for name in published.columns.difference([*by, "seed", "profile"], sort=False):
        if MACHINE.search(name) or not is_numeric_dtype(published[name]):
            continue
        before, now = published[name], pd.to_numeric(run[name], errors="coerce")
        agree = np.isclose(now, before, rtol=EQUAL, atol=1e-12, equal_nan=True) & ~timed
        noise = ~agree & ~timed & (_within_noise(published, name, now, all_seeds) if name in MEASURED else False)
        comparison.agree += int((agree & before.notna()).sum())
        comparison.noise += int(noise.sum())
        comparison.left_out += int((timed & before.notna()).sum())
        for row in labels.index[~agree & ~noise & ~timed]:
            comparison.differ.append(f"{labels[row]}: {name} published {before[row]:.6g}, this run {now[row]:.6g}")
    return comparison


def _within_noise(published: pd.DataFrame, name: str, now: pd.Series, all_seeds: pd.DataFrame) -> pd.Series:
    """Whether a value, or an end of its interval, is as near to the published as the module says."""
    low, high = (published[end] if end in published else np.nan for end in ("ci_low", "ci_high"))
    near = (low <= now) & (now <= high) if name == "value" else (now - published[name]).abs() <= (high - low) / 2
    seeds = all_seeds[name].groupby(level=[0, 1]).agg(["mean", "std"]).loc[published.index]
    return near | ((now - seeds["mean"]).abs() <= SPREAD * seeds["std"])


def _indexed(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Rows by their key and, should several of a seed have the same, their number among those."""
    row = row_keys(frame, by)
    return frame.set_index([row, frame.groupby([frame.seed, row]).cumcount()])


def _labels(frame: pd.DataFrame, by: list[str]) -> pd.Series:
    """Each row's key in words: text as it is, numbers with their name; of further columns, those that vary."""
    columns = [name for name in by if name in ("dataset", "method", "metric") or frame[name].nunique(dropna=False) > 1]
    texts = row_keys(frame, columns).str.split(SEPARATOR)
    numbers = [f"{name} " if is_numeric_dtype(frame[name]) else "" for name in columns]
    return texts.map(lambda text: ", ".join(n + t for n, t in zip(numbers, text, strict=True) if t != "–"))


def _compare_seed(edition: Path, results: Path, seed: str) -> Iterator[Comparison]:
    for file in sorted((edition / seed).glob("*.csv")):
        if not (table := results / seed / file.name).is_file():
            yield Comparison(file.stem, seed, differ=[f"{file.stem}, {seed}: the table is missing"])
            continue
        all_seeds = pd.concat(map(_read, sorted(edition.glob(f"seed-*/{file.name}"))))
        yield compare(file.stem, seed, _read(file), _read(table), all_seeds)


def _read(file: Path) -> pd.DataFrame:
    """Its rows, with the seed that its folder names."""
    try:
        return io.read_csv(file).assign(seed=file.parent.name)
    except ValueError as error:
        raise ValueError(f"{file}: not a table ({error}); remove it and run again") from None


@partial(one_line_errors, code=2)
def main() -> int:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m study.commands.verify", description=__doc__, formatter_class=form)
    parser.add_argument("profile", help="the profile's name, such as laptop")
    parser.add_argument("seeds", type=int, nargs="*", help="by default all that were run and are published")
    options = parser.parse_args()
    comparisons = verify(find_root(), options.profile, options.seeds)
    for comparison in comparisons:
        print(comparison, *(f"  differs: {line}" for line in comparison.differ), sep="\n")
    agree, noise = sum(c.agree for c in comparisons), sum(c.noise for c in comparisons)
    differ = sum(len(c.differ) for c in comparisons)
    print(f"{options.profile}: {agree:,} values agree, {noise:,} differ within noise, {differ:,} differ or are missing")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
