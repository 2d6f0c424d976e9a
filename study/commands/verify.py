"""Compare the tables of a run with the published ones of the same profile and seed, value by value: `make verify`.

A value agrees where it is equal to a relative 1e-6. It differs within noise where it lies inside the published 95 %
interval, or no further than two standard deviations from the mean of the published seeds; an end of an interval, where
it has moved by no more than half the published interval's width, or lies within two standard deviations likewise.
All else differs: any other number, such as a count, that is not equal, and whatever has neither an interval nor several
published seeds. Rows are paired by what they are of: all text, and numbers that are settings rather than results.
Seconds, minutes and memory depend on the machine and are left out. Where all published seeds ran, the claims' verdicts
are compared, too: one that is the opposite differs, one that the other run can't decide does within noise.

Exit code: 0 where nothing differs; 1 where a value does, or a published table or row is missing; 2 where there is
nothing to compare. Through make it is 2 wherever it isn't 0.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from ifcore import io
from study.claims import verdicts
from study.config import find_root
from study.report.published import FOLDER, MEASURED, SCORECARD, SEPARATOR, keys, named
from study.report.results import read_tables

EQUAL = 1e-6  # relative
SPREAD = 2  # standard deviations
MACHINE = re.compile("seconds|minutes|memory|bytes")  # in the name of a metric or a column: not compared


@dataclass
class Comparison:
    """How many values of a table agree, differ within noise, and differ, a line each of the last; rows beyond."""

    table: str
    seed: str
    agree: int = 0
    noise: int = 0
    left_out: int = 0
    further: int = 0
    differ: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = f"{self.table}, {self.seed}: {self.agree} agree, {self.noise} within noise, {len(self.differ)} differ"
        said += f"; {self.left_out} of the machine left out" if self.left_out else ""
        return said + (f"; {self.further} rows more than published" if self.further else "")


def verify(root: Path, profile: str, seeds: list[int] | None = None) -> list[Comparison]:
    """A comparison for each published table of each seed that both have, or of each of `seeds`.

    Raises ValueError, in one line, where there is nothing to compare: nothing published, or nothing run, of the profile
    as it was published.
    """
    theirs, ours = root / FOLDER / profile, root / "results" / profile
    known = {seed.name: seed for seed in sorted(theirs.glob("seed-*"))}
    if not known:
        there = sorted({folder.parent.name for folder in (root / FOLDER).glob("*/seed-*")})
        remedy = f"choose from {', '.join(there)}" if there else "nothing is, so far"
        raise ValueError(f"PROFILE={profile}: no tables of it in {FOLDER}; {remedy}")
    ran = {seed.name for seed in ours.glob("seed-*")}
    names = [f"seed-{seed}" for seed in seeds] if seeds else [name for name in known if name in ran]
    if not names:
        first = next(iter(known)).removeprefix("seed-")
        remedy = f"make book PROFILE={profile} SEED={first} first"
        raise ValueError(f"results/{profile}: no seed that is published; {remedy}")
    for name in names:
        if name not in known:
            choice = ", ".join(seed.removeprefix("seed-") for seed in known)
            raise ValueError(f"SEED={name.removeprefix('seed-')}: not published of {profile}; choose from {choice}")
        if name not in ran:
            remedy = f"make book PROFILE={profile} SEED={name.removeprefix('seed-')} first"
            raise ValueError(f"results/{profile}/{name}: not run; {remedy}")
        made, published = (io.read_json(folder / name / "run.json").get("digest") for folder in (ours, theirs))
        if made != published:
            wrong = f"made with digest {made}, published with {published}"
            remedy = f"take notebooks/profiles/{profile}.yaml from Git and make book PROFILE={profile}"
            raise ValueError(f"results/{profile}/{name}: {wrong}; {remedy}")
    found = [compared for name in names for compared in _seed(theirs, ours, name)]
    if set(names) == set(known) and (theirs / SCORECARD).is_file():
        tables = read_tables(ours / name for name in names)
        found.append(
            compare_verdicts(io.read_csv(theirs / SCORECARD), verdicts.judge_claims(verdicts.claims(), tables))
        )
    return found


def compare_verdicts(published: pd.DataFrame, run: pd.DataFrame) -> Comparison:
    """The verdicts of two scorecards, claim by claim."""
    found, now = Comparison("scorecard", "all seeds"), run.set_index("claim").verdict
    for claim, then in zip(published.claim, published.verdict, strict=True):
        if claim not in now:
            found.differ.append(f"scorecard, {claim}: the claim is missing")
        elif now[claim] == then:
            found.agree += 1
        elif verdicts.INCONCLUSIVE in (then, now[claim]):
            found.noise += 1
        else:
            found.differ.append(f"scorecard, {claim}: verdict published {then}, this run {now[claim]}")
    return found


def compare(table: str, seed: str, published: pd.DataFrame, run: pd.DataFrame, released: pd.DataFrame) -> Comparison:
    """A table of one seed as published and as run; `released` has the rows of all published seeds."""
    found = Comparison(table, seed)
    if missing := [name for name in published if name not in run]:
        found.differ += [f"{table}, {seed}: the column {name} is missing" for name in missing]
        return found
    by = [name for name in keys(released) if not MACHINE.search(name)]
    theirs, ours, spread = (_indexed(frame, by) for frame in (published, run, released))
    found.further = len(ours.index.difference(theirs.index))
    about = f"{table}, {seed}, " + _said(theirs, by)
    there = theirs.index.isin(ours.index)
    found.differ += [f"{row}: the row is missing" for row in about[~there]]
    theirs, about = theirs[there], about[there]
    ours = ours.loc[theirs.index]
    timed = theirs.metric.str.contains(MACHINE) if "metric" in theirs else pd.Series(False, theirs.index)
    for name in (each for each in published if each not in (*by, "seed", "profile")):
        if MACHINE.search(name) or not is_numeric_dtype(theirs[name]):
            continue
        then, now = theirs[name], pd.to_numeric(ours[name], errors="coerce")
        agree = np.isclose(now, then, rtol=EQUAL, atol=1e-12, equal_nan=True) & ~timed
        noise = ~agree & ~timed & (_noise(theirs, name, now, spread) if name in MEASURED else False)
        found.agree += int((agree & then.notna()).sum())
        found.noise += int(noise.sum())
        found.left_out += int((timed & then.notna()).sum())
        for row in about.index[~agree & ~noise & ~timed]:
            found.differ.append(f"{about[row]}: {name} published {then[row]:.6g}, this run {now[row]:.6g}")
    return found


def _noise(theirs: pd.DataFrame, name: str, now: pd.Series, released: pd.DataFrame) -> pd.Series:
    """Whether a value, or an end of its interval, is as near to the published as the module says."""
    low, high = (theirs[end] if end in theirs else np.nan for end in ("ci_low", "ci_high"))
    near = (low <= now) & (now <= high) if name == "value" else (now - theirs[name]).abs() <= (high - low) / 2
    seeds = released[name].groupby(level=[0, 1]).agg(["mean", "std"]).loc[theirs.index]
    return near | ((now - seeds["mean"]).abs() <= SPREAD * seeds["std"])


def _indexed(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Rows by what they are of and, should several of a seed be of the same, their number among those."""
    row = named(frame, by)
    return frame.set_index([row, frame.groupby([frame.seed, row]).cumcount()])


def _said(frame: pd.DataFrame, by: list[str]) -> pd.Series:
    """What each row is of, in words: text as it is, numbers with their name; of further columns, those that vary."""
    told = [name for name in by if name in ("dataset", "method", "metric") or frame[name].nunique(dropna=False) > 1]
    texts = named(frame, told).str.split(SEPARATOR)
    numbers = [f"{name} " if is_numeric_dtype(frame[name]) else "" for name in told]
    return texts.map(lambda text: ", ".join(n + t for n, t in zip(numbers, text, strict=True) if t != "–"))


def _seed(theirs: Path, ours: Path, seed: str) -> Iterator[Comparison]:
    for file in sorted((theirs / seed).glob("*.csv")):
        if not (mine := ours / seed / file.name).is_file():
            yield Comparison(file.stem, seed, differ=[f"{file.stem}, {seed}: the table is missing"])
            continue
        released = pd.concat([_read(each) for each in sorted(theirs.glob(f"seed-*/{file.name}"))])
        yield compare(file.stem, seed, _read(file), _read(mine), released)


def _read(file: Path) -> pd.DataFrame:
    """Its rows, with the seed that its folder names."""
    try:
        return io.read_csv(file).assign(seed=file.parent.name)
    except ValueError as error:
        raise ValueError(f"{file}: not a table ({error}); remove it and run again") from None


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m study.commands.verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("profile", help="the profile's name, such as laptop")
    parser.add_argument("seeds", type=int, nargs="*", help="by default all that were run and are published")
    given = parser.parse_args()
    try:
        found = verify(find_root(), given.profile, given.seeds)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for compared in found:
        print(compared)
        for line in compared.differ:
            print(f"  differs: {line}")
    differ = sum(len(compared.differ) for compared in found)
    agree, noise = sum(each.agree for each in found), sum(each.noise for each in found)
    print(f"{given.profile}: {agree:,} values agree, {noise:,} differ within noise, {differ:,} differ or are missing")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
