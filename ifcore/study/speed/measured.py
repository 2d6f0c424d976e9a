"""What `make bench` left on this machine, and what the repository ships of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ifcore import files

HERE, PUBLISHED = Path("results", "bench"), Path("results", "published", "bench")
PARTS = ("attribution", "scores", "scaling")


@dataclass(frozen=True)
class Measured:
    """The tables of `make bench`, part -> rows as it wrote them, and what they were measured on."""

    tables: dict[str, pd.DataFrame]
    about: dict

    def median(self, part: str, by: list[str], value: str = "seconds") -> pd.Series:
        """The median over rounds, by the columns `by`, in the order of the rows."""
        return self.tables[part].groupby(by, sort=False)[value].median()


def measured(root: Path) -> tuple[Measured, Measured | None]:
    """(What is shown, the published one beside it): this machine's, if it has measured, else the published alone.

    Raises ValueError, in one line, where there is neither.
    """
    found = [each for folder in (HERE, PUBLISHED) if (each := _read(root / folder)) is not None]
    if not found:
        raise ValueError(f"{HERE}: no tables, and none published; make bench measures them, in half an hour")
    return found[0], found[1] if len(found) > 1 else None


def _read(folder: Path) -> Measured | None:
    if not all((folder / f"{part}.csv").is_file() for part in PARTS):
        return None
    tables = {part: pd.read_csv(folder / f"{part}.csv") for part in PARTS}
    return Measured(tables, files.read_json(folder / "run.json"))
