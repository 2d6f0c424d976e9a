"""What `make bench` left on this machine, and what the repository ships of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ifcore import io

HERE, PUBLISHED = Path("results", "bench"), Path("results", "published", "bench")
PARTS = ("attribution", "scores", "scaling")
FURTHER = ("large", "rehearsal")  # which need much disk or memory, and so may be missing
NEEDED = ("floor", "gradients", "ifcore")  # of the first job: what a page says of it


@dataclass(frozen=True)
class Measured:
    """The tables of `make bench`, part -> rows as it wrote them, and what they were measured on, by which commits.

    A table's `attrs["made"]` names its file, below the root.
    """

    tables: dict[str, pd.DataFrame]
    about: dict
    published: bool

    def median(self, part: str, by: list[str], value: str = "seconds") -> pd.Series:
        """The median over rounds, by the columns `by`, in the order of the rows."""
        return self.tables[part].groupby(by, sort=False)[value].median()


def measured(root: Path) -> tuple[Measured, Measured | None]:
    """(What is shown, the published one beside it): this machine's, if it has measured all, else the published alone.

    Raises ValueError, in one line, where there is neither.
    """
    ours, theirs = (_read(root, folder) for folder in (HERE, PUBLISHED))
    if ours is None and theirs is None:
        raise ValueError(f"{HERE}: not all tables, and none published; make bench measures them, in half an hour")
    if ours is None or theirs is not None and ours.about == theirs.about:  # those were published from here
        return theirs, None
    return ours, theirs


def _read(root: Path, folder: Path) -> Measured | None:
    if not all((root / folder / f"{part}.csv").is_file() for part in PARTS):
        return None
    there = [part for part in (*PARTS, *FURTHER) if (root / folder / f"{part}.csv").is_file()]
    tables = {part: io.read_csv(root / folder / f"{part}.csv") for part in there}
    for part, table in tables.items():
        table.attrs["made"] = [str(folder / f"{part}.csv")]
    found = Measured(tables, io.read_json(root / folder / "run.json"), folder == PUBLISHED)
    small = found.tables["attribution"].query("job == 'small'")
    return found if set(NEEDED) <= set(small.contender) else None
