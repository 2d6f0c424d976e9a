"""The values of a row's fields, as files, tables and trainers leave them; an error names the field."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any


def whole_numbers(values: Any, about: str) -> list[int]:
    values = values.tolist() if hasattr(values, "tolist") else unquoted(values)  # a tensor, an array
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError(f"{about}: {short(values)} is no list of whole numbers; give one row's")
    for place, value in enumerate(values):
        if not isinstance(value, int | float) or not float(value).is_integer():
            raise ValueError(f"{about}, {place}: {short(value)} is no whole number; give one row's, not a batch")
    return list(map(int, values))


def as_text(value: Any, about: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{about}: {short(value)} is no text; put it in quotes")
    return value


def unquoted(value: Any) -> Any:
    """What a text holds that is JSON of a list or an object, as tables of text have it; else the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def as_lists(value: Any) -> Any:
    """With lists where a table has arrays, at any depth; a null inside is what its trainer's template saw, too."""
    if isinstance(value, Mapping):
        return {name: as_lists(inner) for name, inner in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(map(as_lists, value)) if isinstance(value, list | tuple) else value


def is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def is_whole(text: str) -> bool:
    """Whether no character of it is a half."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def short(value: Any) -> str:
    """The beginning of a value, for an error's one line."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
