"""The tables of a run under results/, and those of its other seeds."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from filelock import FileLock

from ifcore import io
from study.config import Run
from study.pipeline.base_model import resolved_precision
from study.report.provenance import provenance
from study.report.published import join_published, published_table


def save_table(run: Run, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Write the run's CSV; return it with the rows of other seeds of the same profile, and with the published values.

    Adds the columns seed, profile and model where the frame lacks them. The first table of a changed profile deletes
    the tables that the folder has of the old one. `attrs["made"]` of the result names the file, relative to the root.
    """
    record = {"seed": run.seed, "profile": run.profile.name, "model": run.profile.model}
    frame = frame.assign(**{column: value for column, value in record.items() if column not in frame})
    run.results.mkdir(parents=True, exist_ok=True)
    with FileLock(run.results / ".lock"):
        if io.read_json(run.results / "run.json").get("digest") != run.profile.digest:
            for stale in run.results.glob("*.csv"):  # never averaged with this run's
                stale.unlink()
        io.write_csv(run.results / f"{name}.csv", frame)
        made = {"digest": run.profile.digest, "precision": resolved_precision(run.profile.precision)}
        io.write_json(run.results / "run.json", record | made | provenance(run.root))
    rows = join_published(read_tables(table_folders(run), name)[name], published_table(run, name))
    rows.attrs["made"] = [str((run.results / f"{name}.csv").relative_to(run.root))]
    return rows


def table_folders(run: Run) -> list[Path]:
    """The results folders of all seeds of the run's profile, as it is now."""
    folders = sorted(run.results.parent.glob("seed-*"))
    return [folder for folder in folders if io.read_json(folder / "run.json").get("digest") == run.profile.digest]


def read_tables(folders: Iterable[Path], name: str = "*") -> dict[str, pd.DataFrame]:
    """The folders' tables, {name: rows of all folders}."""
    tables: dict[str, list[pd.DataFrame]] = {}
    for folder in folders:
        for file in sorted(folder.glob(f"{name}.csv")):
            tables.setdefault(file.stem, []).append(io.read_csv(file))
    return {name: pd.concat(frames, ignore_index=True) for name, frames in tables.items()}
