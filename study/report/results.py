"""The tables that a run leaves under results/, and those of its other seeds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from filelock import FileLock

from ifcore import io
from study.config import Run
from study.report.provenance import provenance
from study.report.published import joined, published


def save_table(run: Run, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Write the run's CSV; give it back with those of the other seeds that ran the same profile.

    Says of each row which seed, profile and model it is of, where the frame does not. Tables that the folder has from
    another profile of this name are removed, by whoever publishes first. Where the repository ships the table, three
    columns more tell what it says of a row (`published.joined`). `attrs["made"]` names the file, below the root.
    """
    about = {"seed": run.seed, "profile": run.profile.name, "model": run.profile.model}
    frame = frame.assign(**{name: value for name, value in about.items() if name not in frame})
    run.results.mkdir(parents=True, exist_ok=True)
    with FileLock(run.results / ".lock"):
        if io.read_json(run.results / "run.json").get("digest") != run.profile.digest:
            for stale in run.results.glob("*.csv"):  # never averaged with ours
                stale.unlink()
        io.write_csv(run.results / f"{name}.csv", frame)
        io.write_json(run.results / "run.json", about | {"digest": run.profile.digest} | provenance(run.root))
    found = joined(read_tables(table_folders(run), name)[name], published(run, name))
    found.attrs["made"] = [str((run.results / f"{name}.csv").relative_to(run.root))]
    return found


def table_folders(run: Run) -> list[Path]:
    """Where the tables are of all seeds that ran the run's profile."""
    found = sorted(run.results.parent.glob("seed-*"))
    return [each for each in found if io.read_json(each / "run.json").get("digest") == run.profile.digest]


def read_tables(folders: Iterable[Path], name: str = "*") -> dict[str, pd.DataFrame]:
    """The tables in some folders, those of one name in one frame: {name of the CSV: rows of all seeds}."""
    found: dict[str, list[pd.DataFrame]] = {}
    for file in (file for folder in folders for file in sorted(folder.glob(f"{name}.csv"))):
        found.setdefault(file.stem, []).append(io.read_csv(file))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in found.items()}
