"""The tables that the repository ships from runs of its own, and what they say beside a run's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas.api.types import is_float_dtype

from ifcore import io
from study.config import Run
from study.report.provenance import provenance

FOLDER = Path("results", "published")  # below the root: a folder a profile
PROFILES = ("evening", "laptop")  # those that are published, the one with more examples first
SCORECARD = "scorecard.csv"  # of all seeds together, so beside their folders
FEWEST = 3  # seeds of which a verdict may be had
MEASURED = ("value", "ci_low", "ci_high")
SEPARATOR = "\x1f"  # in no text


def published(run: Run, name: str) -> pd.DataFrame | None:
    """The table `name` of all published seeds of the run's profile, as tidy rows; None where there is none.

    A run of any other profile than those of `PROFILES`, such as one with overridden keys, gets the `preferred` one's
    where its own is not published; the columns `profile` and `seed` say whose they are. The run that was published is
    shown beside nothing: None.
    """
    own = run.profile.name
    for profile in (own,) if own in PROFILES else (own, preferred(run.root), *PROFILES):
        tables = sorted((run.root / FOLDER / profile).glob(f"seed-*/{name}.csv"))
        if tables:
            return (
                None
                if is_published_run(run, tables[0].parent)
                else pd.concat(map(io.read_csv, tables), ignore_index=True)
            )
    return None


def published_verdicts(run: Run) -> list[Path]:
    """The folders of the `preferred` published seeds, of profiles that have as many examples as the run's at least.

    None where the run is those, or where they are fewer than a verdict takes: theirs would be open throughout.
    """
    own = run.profile.name
    among = PROFILES[: PROFILES.index(own) + 1] if own in PROFILES else PROFILES
    folders = _seeds(run.root, preferred(run.root, among))
    return [] if len(folders) < FEWEST or is_published_run(run, folders[0]) else folders


def preferred(root: Path, among: Sequence[str] = PROFILES) -> str:
    """The published profile to go by: the first with as many seeds as a verdict takes, else that with most of them."""
    counts = {profile: min(len(_seeds(root, profile)), FEWEST) for profile in among}
    return max(counts, key=counts.get)


def joined(frame: pd.DataFrame, theirs: pd.DataFrame | None) -> pd.DataFrame:
    """Tidy rows with what the published ones of the same keys say, in three further columns.

    `published`: their mean over seeds; `published_sd`: their standard deviation, NaN for one seed; `published_in`:
    which they are, in words. Models need not be the same, unless a table has several. Where nothing is published, or a
    table of other columns, the rows are as they were.
    """
    if theirs is None or set(frame.columns) != set(theirs.columns) or not {"value", "seed", "profile"} <= set(theirs):
        return frame
    by = [column for column in keys(theirs) if column != "model"]
    if theirs.duplicated(["seed", *by]).any():
        by.append("model")
    values = theirs.value.groupby(named(theirs, by))
    row = named(frame, by)
    seeds = ", ".join(map(str, sorted(theirs.seed.unique())))
    about = f"seed{'s' * (theirs.seed.nunique() > 1)} {seeds} of the profile {theirs.profile.iloc[0]}"
    return frame.assign(
        published=row.map(values.mean()),
        published_sd=row.map(values.std()),
        published_in=about,
    )


def keys(frame: pd.DataFrame) -> list[str]:
    """The columns of tidy rows of one or several seeds that say what a row is of, seed and profile aside.

    All text; of the numbers beside a value, its interval and the counts `n_…`, those that are whole throughout (an
    epoch, a number of parameters), and others (a damping) only as far as rows could not be told apart without them.
    """
    further = [name for name in frame if name not in (*MEASURED, "seed", "profile") and not name.startswith("n_")]
    fractions = [name for name in further if is_float_dtype(frame[name]) and (frame[name].dropna() % 1 != 0).any()]
    found = [name for name in further if name not in fractions]
    fractions.sort(key=lambda name: frame[name].nunique())
    while fractions and frame.duplicated(["seed", *found]).any():
        found.append(fractions.pop(0))
    return [name for name in frame if name in found]


def named(frame: pd.DataFrame, by: list[str]) -> pd.Series:
    """A text a row, made of the columns `by`: the same for 1 and 1.0, and for a number as for what a file has of it."""
    columns = [frame[name].map(_text) for name in by]
    return pd.Series(list(zip(*columns, strict=True)), index=frame.index).map(SEPARATOR.join)


def _seeds(root: Path, profile: str) -> list[Path]:
    return sorted((root / FOLDER / profile).glob("seed-*"))


def _text(value: object) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def is_published_run(run: Run, folder: Path) -> bool:
    """Whether the run is the one that was published: the same profile by the same commit."""
    about = io.read_json(folder / "run.json")
    ours = (run.profile.digest, provenance(run.root)["commit"])
    return bool(ours[1]) and ours == (about.get("digest"), about.get("commit"))
