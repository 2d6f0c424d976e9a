"""What `make bench` left on this machine, and what the repository ships of it."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ifcore import io

LOCAL, PUBLISHED = Path("results", "bench"), Path("results", "published", "bench")
PARTS = ("attribution", "scores", "scaling")
OPTIONAL = ("large", "rehearsal")  # they need much disk or memory
NEEDED = {"floor", "gradients", "ifcore"}  # of the first job: the contenders that the page speaks of


@dataclass(frozen=True)
class Benchmarks:
    """The tables of `make bench`, by part, and the record of the machine and commits that they were measured on.

    A table's `attrs["made"]` names its file, below the root.
    """

    tables: dict[str, pd.DataFrame]
    record: dict
    published: bool


def read_benchmarks(root: Path) -> tuple[Benchmarks, Benchmarks | None]:
    """This machine's benchmarks and the published ones beside them, or the published alone if this one's aren't whole.

    Raises ValueError, in one line, where there is neither.
    """
    local, published = (_read(root, folder) for folder in (LOCAL, PUBLISHED))
    if local and published and local.record != published.record:  # else those were published from here
        return local, published
    if shown := published or local:
        return shown, None
    raise ValueError(f"{LOCAL}: not all tables, and none published; make bench measures them, in an hour or two")


def _read(root: Path, folder: Path) -> Benchmarks | None:
    tables = {part: root / folder / f"{part}.csv" for part in (*PARTS, *OPTIONAL)}
    frames = {part: io.read_csv(file) for part, file in tables.items() if file.is_file()}
    for part, frame in frames.items():
        frame.attrs["made"] = [str(folder / f"{part}.csv")]
    if not set(PARTS) <= set(frames) or not NEEDED <= set(frames["attribution"].query("job == 'small'").contender):
        return None
    return Benchmarks(frames, io.read_json(root / folder / "run.json"), folder == PUBLISHED)
