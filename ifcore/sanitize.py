"""Text from elsewhere, made harmless where it is shown: on a terminal, on a page, in a spreadsheet."""

import unicodedata
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet computes begins so
LONGEST = 2_000  # characters of a line


def printable(text: object) -> str:
    """One line that a terminal may have: what would move its cursor or turn its text is a question mark.

    Line breaks and other blanks become single spaces, and what is very long is cut.
    """
    line = " ".join(str(text).split())
    line = line if len(line) <= LONGEST else line[: LONGEST - 2] + " …"
    return "".join(each if each.isprintable() else "?" for each in line)


def reason(error: Exception, longest: int = 200) -> str:
    """The beginning of what an error says, as part of a line; its kind where it says nothing."""
    return printable(error)[:longest] or type(error).__name__


def legible(text: str) -> str:
    """Text as a page may have it: a control character other than a tab or an end of a line is U+FFFD."""
    return "".join("\ufffd" if unicodedata.category(each) == "Cc" and each not in "\t\n\r" else each for each in text)


def cell(value: Any) -> Any:
    """A cell of a CSV file, where text that a spreadsheet would compute has a ' before it; a number stays one."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) and not _is_number(value) else value


def uncell(value: Any) -> Any:
    """What `cell` made such a cell of."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and cell(value[1:]) == value else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isprintable()
