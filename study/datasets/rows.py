"""The rows of a table in a file: CSV, JSON Lines, Parquet, or the folder that `datasets.save_to_disk` leaves (Arrow).

Every complaint is a ValueError of one line. Nothing is unpickled: Arrow and Parquet hold plain columns.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from study.datasets.mistakes import brief, kind, listing, mistake, text

Row = tuple[str, ...]


def read(path: Path, columns: Sequence[str]) -> list[Row]:
    """The text in these columns, a row each; other columns are left alone.

    `path` is a folder of Arrow files or a file whose extension is in FORMATS. A complaint about a row counts from 1, as
    the file has it: the lines of JSON Lines, the rows under a CSV's header.
    """
    rows = _arrow(path, columns) if path.is_dir() else FORMATS[path.suffix](path, columns)
    found = [tuple(text(path, number, *cell) for cell in zip(columns, row, strict=True)) for number, row in rows]
    if not found:
        raise mistake(path, "no rows", "give one that has some")
    return found


def comma_separated(place: object, path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list]]:
    """(number, cells of these columns) of each row of a CSV file, which complaints call `place`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            header = reader.fieldnames or []
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise mistake(place, f"not a UTF-8 CSV file ({brief(error)})", "save it as CSV") from None
    _demand(place, header, columns, "name it in the first line")
    for number, row in enumerate(rows, 1):
        if None in row:  # where DictReader puts the cells that have no column
            raise mistake(f"{place}, row {number}", "more cells than columns", "put quotes round commas")
        yield number, [row[column] for column in columns]


def _csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list]]:
    return comma_separated(path, path, columns)


def _json_lines(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list]]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise mistake(path, f"not a UTF-8 file ({brief(error)})", "save it as JSON Lines") from None
    for number, line in enumerate(content.rstrip().split("\n"), 1):  # not splitlines: text may hold its other ends
        place = f"{path}, row {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise mistake(place, f"not JSON ({brief(error)})", "write one object {...} a line") from None
        if not isinstance(row, dict):
            raise mistake(place, f"{kind(row)}, not an object", "write it as {...}")
        _demand(place, list(row), columns, "add it")
        yield number, [row[column] for column in columns]


def _parquet(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list]]:
    from pyarrow import parquet  # a fifth of a second, which commands that read no such file need not wait for

    yield from _columns(path, [path], lambda file: parquet.ParquetFile(file).read(), columns, "write it as Parquet")


def _arrow(folder: Path, columns: Sequence[str]) -> Iterator[tuple[int, list]]:
    """Of the files that state.json names: others may lie there from an earlier save."""
    from pyarrow import ipc

    remedy = "copy the whole folder that save_to_disk left"
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        files = [folder / Path(each["filename"]).name for each in state["_data_files"]]
        reordered = bool(state.get("_indices_data_files"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise mistake(folder, "no state.json that names its Arrow files", remedy) from None
    if reordered:  # what the folder means is then a choice of these rows, in another order
        raise mistake(folder, "its rows are chosen by a file of indices", "save it after flatten_indices()")

    def table(file: Path):
        with ipc.open_stream(file.read_bytes()) as stream:
            return stream.read_all()

    yield from _columns(folder, files, table, columns, remedy)


def _columns(place: Path, files: Sequence[Path], table, columns: Sequence[str], remedy: str):
    """(number, cells) of the rows of some tables, one below the other."""
    from pyarrow import ArrowException

    number = 0
    for file in files:
        try:
            found = table(file)
            _demand(place, found.column_names, columns, "rename the one that is meant")
            found.validate(full=True)  # a damaged file's offsets would be read out of bounds
            cells = [found[column].to_pylist() for column in columns]
        except (ArrowException, UnicodeDecodeError, OSError) as error:
            raise mistake(file, f"not read ({brief(error)})", remedy) from None
        for row in zip(*cells, strict=True):
            number += 1
            yield number, list(row)


def _demand(place: object, header: Sequence[str], columns: Sequence[str], remedy: str) -> None:
    for column in columns:
        if column not in header:
            raise mistake(place, f"no column {column!r} (found {listing(header)})", remedy)
        if header.count(column) > 1:
            raise mistake(place, f"{header.count(column)} columns {column!r}", "leave one")


FORMATS = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
