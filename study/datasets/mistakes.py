"""What is said of a file that can't be used: one line that names the place, what is wrong there, what to do."""

from __future__ import annotations

from collections.abc import Iterable


def mistake(place: object, wrong: str, remedy: str) -> ValueError:
    """The error to raise."""
    return ValueError(" ".join(f"{place}: {wrong}; {remedy}".splitlines()))


def text(place: object, row: int, column: str, value: object, optional: bool = False) -> str:
    """The stripped text of a cell; None is a cell that a short CSV row lacks, or a null. ValueError for no text."""
    place = f"{place}, row {row}, column {column}"
    if value is not None and not isinstance(value, str):
        raise mistake(place, f"{kind(value)} where text is needed", "write it as text")
    found = (value or "").strip()
    if not found and not optional:
        raise mistake(place, "empty", "fill it in or delete the row")
    try:
        found.encode()
    except UnicodeEncodeError:  # JSON can spell half of a character that has two
        raise mistake(place, "half a character, which UTF-8 can't hold", "write it as UTF-8 text") from None
    return found


def listing(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"


def kind(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def brief(error: Exception) -> str:
    """The first line of what an error says, or its name."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
