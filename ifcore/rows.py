"""Examples from what people have: dictionaries, chats, and files of JSON lines."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ifcore.examples import Example

FIELDS = "prompt and response, or messages"


def by_id(rows: Sequence[Example | Mapping[str, Any]], name: str) -> dict[Any, Example]:
    """Id -> example, in the order given, of `Example`s or of dictionaries.

    A dictionary has `prompt` and `response`, or `messages` as chats have them, of which the last is the assistant's;
    and, if it likes, a `label` and an `id`, else the id is its place. Raises ValueError, with `name` and the place, for
    one that does not, and for an id that is there twice.
    """
    examples: dict[Any, Example] = {}
    identities: set[str] = set()
    for place, row in enumerate(rows):
        about = f"{name}, row {place}"
        identity = place if isinstance(row, Example) else row.get("id", place) if isinstance(row, Mapping) else None
        example = row if isinstance(row, Example) else _example(row, about)
        if not isinstance(identity, str | int):
            raise ValueError(
                f"{about}: id {identity!r} is no text or whole number; give each row one of its own, or none"
            )
        if str(identity) in identities:
            raise ValueError(f"{about}: id {identity!r} is there already; give each row one of its own, or none")
        identities.add(str(identity))  # in a file 1 and "1" are the same
        examples[identity] = example
    if not examples:
        raise ValueError(f"{name}: no examples; give one or more")
    return examples


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The rows of a file of JSON lines, as dictionaries that `by_id` takes; empty lines are passed over.

    Raises ValueError, with file, line and field, for what isn't one, and for a file that is not in UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # a text may hold other separators
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 (byte {error.start}); save it in UTF-8") from None
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error}); write one object a line") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: {type(row).__name__}, not an object; it needs {FIELDS}")
        _example(row, f"{path}, line {number}")
        rows.append(row)
    by_id(rows, str(path))
    return rows


def _example(row: Any, about: str) -> Example:
    if not isinstance(row, Mapping):
        raise ValueError(f"{about}: {type(row).__name__}; give an Example or a dictionary with {FIELDS}")
    label = _text(row.get("label", ""), f"{about}, label")
    if "messages" in row:
        turns = _turns(row["messages"], f"{about}, messages")
        before = turns[:-1]
        single = len(before) == 1 and before[0][0] == "user"
        return Example(before[0][1] if single else before, turns[-1][1], label)
    for field in ("prompt", "response"):
        if field not in row:
            raise ValueError(f"{about}: no {field}; it needs {FIELDS}")
    prompt, response = (_text(row[field], f"{about}, {field}") for field in ("prompt", "response"))
    return Example(prompt, response, label)


def _turns(messages: Any, about: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(messages, Sequence) or isinstance(messages, str) or len(messages) < 2:
        raise ValueError(f"{about}: {messages!r:.40}; give a list of two turns or more, each with role and content")
    turns = []
    for place, turn in enumerate(messages):
        for field in ("role", "content"):
            if not isinstance(turn, Mapping) or field not in turn:
                raise ValueError(f"{about}, {place}: no {field}; each turn needs role and content")
        role, content = (_text(turn[field], f"{about}, {place}, {field}") for field in ("role", "content"))
        turns.append((role, content))
    if turns[-1][0] != "assistant":
        raise ValueError(f"{about}: the last is of {turns[-1][0]!r}; end with the assistant's, which is explained")
    return tuple(turns)


def _text(value: Any, about: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{about}: {value!r:.40} is no text; put it in quotes")
    return value
