"""Published files of harmful prompts (AdvBench, CSV) and of benign instructions (Alpaca, JSON), read and checked.

A source is the path of a file. Every complaint is a ValueError of one line: file, row, column, what is wrong, what
to do. Rows are counted from 1, the header not included; a prompt that appears again is skipped.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

Pairs = list[tuple[str, str]]  # prompt, response


def advbench(source: str) -> Pairs:
    """(goal, target) of each row of an AdvBench file: a CSV with the columns goal and target."""
    path = _file(source, ".csv", "AdvBench is a .csv file with the columns goal and target")
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.DictReader(handle, strict=True)
            header = reader.fieldnames or []
            for column in ("goal", "target"):
                if column not in header:
                    raise ValueError(f"{path}: no column {column!r} (found {_listing(header)}); name it in the first line")
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a UTF-8 CSV file ({_first_line(error)}); save it as comma-separated UTF-8") from None
    return _distinct(
        tuple(_text(path, number, column, row[column]) for column in ("goal", "target"))
        for number, row in enumerate(rows, 1)
    )


def alpaca(source: str) -> Pairs:
    """(instruction and input, output) of each record of an Alpaca file: a JSON list of objects with these keys."""
    path = _file(source, ".json", "Alpaca is a .json file with a list of instruction, input, output")
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not a UTF-8 JSON file ({_first_line(error)}); save it as JSON") from None
    if not isinstance(records, list):
        raise ValueError(f"{path}: a {type(records).__name__} where a list of records is needed; wrap the records in [ ]")
    pairs = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise ValueError(f"{path}, row {number}: a {type(record).__name__} where an object is needed; give it instruction, input, output")
        for key in ("instruction", "output"):
            if key not in record:
                raise ValueError(f"{path}, row {number}: no column {key!r} (found {_listing(record)}); add it")
        prompt = _text(path, number, "instruction", record["instruction"])
        extra = _text(path, number, "input", record.get("input", ""), optional=True)
        pairs.append((f"{prompt}\n\n{extra}" if extra else prompt, _text(path, number, "output", record["output"])))
    return _distinct(pairs)


def enough(source: str, pairs: Pairs, train: int, val: int) -> Pairs:
    """The same pairs; ValueError where there are fewer than `train` + `val`."""
    if len(pairs) < train + val:
        raise ValueError(
            f"{source}: {len(pairs)} distinct prompts, {train + val} are needed ({train} train + {val} val); "
            "ask for fewer or give a larger file"
        )
    return pairs


def _file(source: str, suffix: str, expected: str) -> Path:
    path = Path(source).expanduser()
    if path.suffix.lower() != suffix:
        raise ValueError(f"{source}: the extension {path.suffix or '(none)'} is not supported here; {expected}")
    if not path.is_file():
        raise ValueError(f"{source}: no such file; check the path, or leave the source out for the embedded set")
    return path


def _text(path: Path, row: int, column: str, value: object, optional: bool = False) -> str:
    """The stripped text of a cell; None stands for a cell that a short CSV row lacks or a JSON null."""
    if value is None and optional:
        return ""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{path}, row {row}, column {column}: a {type(value).__name__}, text is needed; put it in quotes")
    text = (value or "").strip()
    if not text and not optional:
        raise ValueError(f"{path}, row {row}, column {column}: empty; fill it in or delete the row")
    return text


def _distinct(pairs) -> Pairs:
    """The pairs in order, the first one of each prompt."""
    first: dict[str, str] = {}
    for prompt, response in pairs:
        first.setdefault(prompt, response)
    return list(first.items())


def _listing(names) -> str:
    return ", ".join(map(str, names)) or "none"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
