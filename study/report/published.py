"""The published tables, which the repository ships, and their values beside a run's."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from pandas.api.types import is_float_dtype

from ifcore import io
from study.config import Run
from study.report.provenance import provenance

FOLDER = Path("results", "published")  # below the root, a folder for each profile
PROFILES = ("evening", "laptop")  # the published ones, the one with more examples first
SCORECARD = "scorecard.csv"  # of all seeds together, beside their folders
FEWEST_SEEDS = 3  # of which it can be told how they differ
MEASURED = ("value", "ci_low", "ci_high")
SEPARATOR = "\x1f"  # in no text


def published_table(run: Run, name: str) -> pd.DataFrame | None:
    """The rows of the table `name` of all published seeds of the run's profile.

    A profile that is not in PROFILES, such as one with overridden keys, falls back on the preferred one; the columns
    `profile` and `seed` say whose rows they are. None where nothing is published, and for the published run itself.
    """
    for profile in _profiles(run):
        if tables := sorted((run.root / FOLDER / profile).glob(f"seed-*/{name}.csv")):
            if is_published_run(run, tables[0].parent):
                return None
            return pd.concat(map(io.read_csv, tables), ignore_index=True)
    return None


def published_words(run: Run) -> str:
    """Whose the published values beside a run's are: `mean ± s.d. over seeds 10, 11 of the profile laptop`; or none."""
    for profile in _profiles(run):
        if folders := _seeds(run.root, profile):
            seeds = ", ".join(str(seed) for seed in sorted(int(folder.name[5:]) for folder in folders))
            words = f"mean ± s.d. over seeds {seeds}" if len(folders) > 1 else f"seed {seeds}"
            return "" if is_published_run(run, folders[0]) else f"{words} of the profile {profile}"
    return ""


def published_seeds(run: Run) -> list[Path]:
    """The folders of the preferred published seeds, of a profile with at least as many examples as the run's.

    Empty for the published run itself, and where the seeds are fewer than FEWEST_SEEDS.
    """
    own_name = run.profile.name
    profiles = PROFILES[: PROFILES.index(own_name) + 1] if own_name in PROFILES else PROFILES
    folders = _seeds(run.root, preferred_profile(run.root, profiles))
    return [] if len(folders) < FEWEST_SEEDS or is_published_run(run, folders[0]) else folders


def preferred_profile(root: Path, profiles: Sequence[str] = PROFILES) -> str:
    """The profile with the most published seeds, which verdicts take; of equals, the one with more examples."""
    return max(profiles, key=lambda profile: len(_seeds(root, profile)))


def join_published(frame: pd.DataFrame, published: pd.DataFrame | None) -> pd.DataFrame:
    """Tidy rows with two more columns of the published rows that have the same keys.

    `published` is their mean over seeds, `published_sd` the standard deviation (NaN for one seed). Models may differ,
    unless a table has several. Without published rows, or where the columns differ, the rows are returned unchanged.
    """
    if published is None or set(frame) != set(published) or not {"value", "seed", "profile"} <= set(published):
        return frame
    by = [column for column in key_columns(published) if column != "model"]
    if published.duplicated(["seed", *by]).any():
        by.append("model")
    values, row = published.value.groupby(row_keys(published, by)), row_keys(frame, by)
    return frame.assign(published=row.map(values.mean()), published_sd=row.map(values.std()))


def key_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that identify a row of a tidy table, besides seed and profile.

    Text and whole numbers (an epoch, a number of parameters) always count; fractions (a damping) only where rows would
    be alike without them. Values, intervals and the counts `n_…` never count.
    """
    names = [name for name in frame if name not in (*MEASURED, "seed", "profile") and not name.startswith("n_")]
    fractions = [name for name in names if is_float_dtype(frame[name]) and (frame[name].dropna() % 1 != 0).any()]
    keys = [name for name in names if name not in fractions]
    fractions.sort(key=lambda name: frame[name].nunique())
    while fractions and frame.duplicated(["seed", *keys]).any():
        keys.append(fractions.pop(0))
    return [name for name in frame if name in keys]


def row_keys(frame: pd.DataFrame, by: list[str]) -> pd.Series:
    """Each row's columns `by` as one text, the same for 1 and 1.0, and for a number and its text in a CSV."""
    columns = [frame[name].map(_text) for name in by]
    return pd.Series(list(zip(*columns, strict=True)), index=frame.index).map(SEPARATOR.join)


def is_published_run(run: Run, folder: Path) -> bool:
    """Whether the run has the profile and the commit that the folder's tables were published from."""
    record, commit = io.read_json(folder / "run.json"), provenance(run.root)["commit"]
    return bool(commit) and (run.profile.digest, commit) == (record.get("digest"), record.get("commit"))


def _profiles(run: Run) -> tuple[str, ...]:
    """Those whose published tables may stand beside the run's, the first that has any."""
    own_name = run.profile.name
    return (own_name,) if own_name in PROFILES else (own_name, preferred_profile(run.root), *PROFILES)


def _seeds(root: Path, profile: str) -> list[Path]:
    return sorted((root / FOLDER / profile).glob("seed-*"))


def _text(value: object) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.12g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
