"""Errors about a file that cannot be used: one line with the place, what is wrong there, and what to do."""

from collections.abc import Iterable


def file_error(place: object, wrong: str, remedy: str) -> ValueError:
    """The error to raise."""
    return ValueError(" ".join(f"{place}: {wrong}; {remedy}".splitlines()))


def cell_text(place: object, row: int, column: str, value: object, optional: bool = False) -> str:
    """The stripped text of a cell; None is a cell that a short CSV row lacks, or a null. ValueError if it has none."""
    place = f"{place}, row {row}, column {column}"
    if value is not None and not isinstance(value, str):
        raise file_error(place, f"{describe_type(value)} where text is needed", "write it as text")
    text = (value or "").strip()
    if not text and not optional:
        raise file_error(place, "empty", "fill it in or delete the row")
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can spell one half of a surrogate pair
        raise file_error(place, "half a character, which UTF-8 can't hold", "write it as UTF-8 text") from None
    return text


def join_names(names: Iterable[object]) -> str:
    return ", ".join(map(str, names)) or "none"


def describe_type(value: object) -> str:
    return f"a value of type {type(value).__name__}"


def first_line(error: Exception) -> str:
    """The first line of an error's message, or the name of its type."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
