"""Rows of files: lines or an array of JSON, Parquet, CSV, and folders of Arrow as `datasets` saves them."""

import codecs
import csv
import json
from collections.abc import Iterator, Mapping
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

from ifcore.examples import Row
from ifcore.rows import FORMATS, read_row

MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
PARQUET = b"PAR1"
ANSWERS = {"response", "completion", "output"}  # of which an empty cell is an empty one


def read_rows(path: Path) -> list[Row]:
    """The rows of a file or a folder of Arrow, by its content: what `by_id` takes, each with file and place.

    Raises ValueError, with file, line or row, and field, for what isn't one; FileNotFoundError.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    rows: list[Row] = []
    for where, fields in _records(path):
        if not isinstance(fields, Mapping):
            raise ValueError(f"{where}: {type(fields).__name__}, not an object; write one object a row")
        rows.append(read_row(fields, len(rows), where))
    if not rows:
        raise ValueError(f"{path}: no examples; give one or more")
    return rows


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    """Where a row is, and the row."""
    if path.is_dir():
        yield from _numbered(path, _arrow(path))
        return
    if path.suffix in (".arrow", ".feather"):
        yield from _numbered(path, _arrow_rows([path]))
        return
    with path.open("rb") as file:
        start = file.read(4)
    if start == PARQUET:
        yield from _numbered(path, _parquet(path))
        return
    text = _text(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        yield from _csv(path, text)
    elif text.lstrip()[:1] == "[":
        yield from _numbered(path, _array(path, text))
    else:
        yield from _lines(path, text)


def _numbered(path: Path, rows: list[Any]) -> Iterator[tuple[str, Any]]:
    return ((f"{path}, row {place}", row) for place, row in enumerate(rows))


def _text(path: Path) -> str:
    """In UTF-8, or in what the file's first bytes say."""
    data = path.read_bytes()
    encoding = next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not {encoding.upper()} (byte {error.start}); save it in UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{path}: not UTF-8, as it has zeros in it; save it in UTF-8")
    return text


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """Of each line that isn't empty. A text may hold other separators than those of lines."""
    for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _json(line, where, "write one object a line, or an array of objects")


def _array(path: Path, text: str) -> list[Any]:
    return _json(text, str(path), "write an array of objects, or one object a line")


def _json(text: str, where: str, remedy: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error}); {remedy}") from None


def _csv(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    """By its first line's fields, with the separator by which these are known; an empty cell is nothing."""
    known = {field for needed in FORMATS.values() for field in needed} | {"id", "input", "label"}
    csv.field_size_limit(2**31 - 1)
    header = text.partition("\n")[0]
    separator = max(",;\t", key=lambda sign: len(known & {name.strip().strip('"') for name in header.split(sign)}))
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"{path}, line 1: {twice[0]} is there twice; give each field a name of its own")
        for cells in reader:
            if not any(cells):
                continue
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(names):
                raise ValueError(f"{where}: {len(cells)} cells for {len(names)} fields; put texts in quotes")
            yield where, {n: cell for n, cell in zip(names, cells, strict=True) if cell or n in ANSWERS}
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: not CSV ({error}); put texts in quotes") from None


def _arrow(folder: Path) -> list[Any]:
    """What `Dataset.save_to_disk` left."""
    whole = folder / "dataset_dict.json"
    if whole.is_file() and (parts := _field(whole, "splits")):
        raise ValueError(f"{folder}: a dataset of {', '.join(parts)}; name the folder of one, as {folder / parts[0]}")
    state = folder / "state.json"
    if not state.is_file():
        raise ValueError(f"{folder}: a folder without state.json; give a file, or what Dataset.save_to_disk left")
    if _field(state, "_indices_data_files", None):
        raise ValueError(f"{folder}: its rows are chosen by indices; call flatten_indices() and save it again")
    return _arrow_rows([folder / file["filename"] for file in _field(state, "_data_files")])


def _field(path: Path, name: str, *default: Any) -> Any:
    """A field of a file of JSON that `datasets` wrote."""
    value = _json(path.read_text(encoding="utf-8"), str(path), "save it again")
    if not default and (not isinstance(value, dict) or name not in value):
        raise ValueError(f"{path}: no {name}; save it again with Dataset.save_to_disk")
    return value.get(name, *default)


def _arrow_rows(paths: list[Path]) -> list[Any]:
    ArrowInvalid, ipc = _pyarrow("ipc")
    rows: list[Any] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                is_file = file.read(6) == b"ARROW1"
                file.seek(0)
                reader = ipc.open_file(file) if is_file else ipc.open_stream(file)
                rows += reader.read_all().to_pylist()
        except ArrowInvalid as error:
            raise ValueError(f"{path}: not Arrow ({error}); save it again") from None
    return rows


def _parquet(path: Path) -> list[Any]:
    ArrowInvalid, parquet = _pyarrow("parquet")
    try:
        return parquet.read_table(path).to_pylist()
    except ArrowInvalid as error:
        raise ValueError(f"{path}: not Parquet ({error}); save it again") from None


def _pyarrow(module: str) -> Any:
    """Its error, and one of its modules: what these formats alone need."""
    try:
        return import_module("pyarrow").ArrowInvalid, import_module(f"pyarrow.{module}")
    except ImportError:
        raise ImportError("Parquet and Arrow are read by pyarrow, which is not here; pip install pyarrow") from None
