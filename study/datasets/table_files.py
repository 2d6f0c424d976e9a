"""The text in the columns of a table: CSV, JSON Lines, Parquet, or an Arrow folder that `datasets.save_to_disk` left.

Every error is a ValueError of one line. Nothing is unpickled: Arrow and Parquet hold plain columns.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study.datasets.file_errors import cell_text, describe_type, file_error, first_line, join_names

if TYPE_CHECKING:
    from pyarrow import Table

NumberedCells = Iterator[tuple[int, list]]  # the row's number, its cells


def read(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The rows of these columns, as text; other columns are ignored.

    `path` is a folder of Arrow files or a file whose extension is in FORMATS. Errors count rows from 1, as the file has
    them: the lines of JSON Lines, the rows under a CSV's header.
    """
    numbered = _read_arrow(path, columns) if path.is_dir() else FORMATS[path.suffix](path, columns)
    rows = [
        tuple(cell_text(path, number, *cell) for cell in zip(columns, row, strict=True)) for number, row in numbered
    ]
    if not rows:
        raise file_error(path, "no rows", "give one that has some")
    return rows


def read_csv(place: object, path: Path, columns: Sequence[str]) -> NumberedCells:
    """The numbered rows of a CSV file, which errors call `place`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            header = reader.fieldnames or []
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError, OSError) as error:
        raise file_error(place, f"not a UTF-8 CSV file ({first_line(error)})", "save it as CSV") from None
    _require_columns(place, header, columns, "name it in the first line")
    for number, row in enumerate(rows, 1):
        if None in row:  # DictReader's key for cells without a column
            raise file_error(f"{place}, row {number}", "more cells than columns", "put quotes round commas")
        yield number, [row[column] for column in columns]


def _read_json_lines(path: Path, columns: Sequence[str]) -> NumberedCells:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise file_error(path, f"not a UTF-8 file ({first_line(error)})", "save it as JSON Lines") from None
    for number, line in enumerate(content.rstrip().split("\n"), 1):  # splitlines would split at U+2028 in a text
        place = f"{path}, row {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise file_error(place, f"not JSON ({first_line(error)})", "write one object {...} a line") from None
        if not isinstance(row, dict):
            raise file_error(place, f"{describe_type(row)}, not an object", "write it as {...}")
        _require_columns(place, list(row), columns, "add it")
        yield number, [row[column] for column in columns]


def _read_parquet(path: Path, columns: Sequence[str]) -> NumberedCells:
    from pyarrow import parquet  # takes a fifth of a second, which commands that read no such file need not wait for

    return _table_rows(path, [path], lambda file: parquet.ParquetFile(file).read(), columns, "write it as Parquet")


def _read_arrow(folder: Path, columns: Sequence[str]) -> NumberedCells:
    """From the files that state.json names: the folder may hold others from an earlier save."""
    from pyarrow import ipc

    remedy = "copy the whole folder that save_to_disk left"
    try:
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        files = [folder / Path(entry["filename"]).name for entry in state["_data_files"]]
        reordered = bool(state.get("_indices_data_files"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise file_error(folder, "no state.json that names its Arrow files", remedy) from None
    if reordered:  # the data set is then a selection of these rows, in another order
        raise file_error(folder, "its rows are chosen by a file of indices", "save it after flatten_indices()")

    def read_table(file: Path) -> Table:
        with ipc.open_stream(file.read_bytes()) as stream:
            return stream.read_all()

    return _table_rows(folder, files, read_table, columns, remedy)


def _table_rows(
    place: Path, files: Sequence[Path], read_table: Callable[[Path], Table], columns: Sequence[str], remedy: str
) -> NumberedCells:
    """The numbered rows of several files, one below the other."""
    from pyarrow import ArrowException

    number = 0
    for file in files:
        try:
            table = read_table(file)
            _require_columns(place, table.column_names, columns, "rename the one that is meant")
            table.validate(full=True)  # a damaged file's offsets would be read out of bounds
            cells = [table[column].to_pylist() for column in columns]
        except (ArrowException, UnicodeDecodeError, OSError) as error:
            raise file_error(file, f"not read ({first_line(error)})", remedy) from None
        for row in zip(*cells, strict=True):
            number += 1
            yield number, list(row)


def _require_columns(place: object, header: Sequence[str], columns: Sequence[str], remedy: str) -> None:
    for column in columns:
        if column not in header:
            raise file_error(place, f"no column {column!r} (found {join_names(header)})", remedy)
        if header.count(column) > 1:
            raise file_error(place, f"{header.count(column)} columns {column!r}", "leave one")


FORMATS: dict[str, Callable[[Path, Sequence[str]], NumberedCells]] = {
    ".jsonl": _read_json_lines,
    ".csv": lambda path, columns: read_csv(path, path, columns),
    ".parquet": _read_parquet,
}
