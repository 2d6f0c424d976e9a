"""Rows with two responses: the loss of one less that of the other, as explained rows may have it."""

from collections.abc import Mapping
from typing import Any

CHOSEN, REJECTED = "chosen", "rejected"
ANSWERS = ("response", "completion", "output")  # the fields that hold one


def split_contrast(fields: Mapping[str, Any], about: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The fields of a row, and those with the response that is held against its own; None for a row with one response.

    That is `rejected`, beside `chosen` as preference data has them (texts or turns after a prompt, or whole
    conversations), or beside a response, completion or output. Raises ValueError where the other one is missing.
    """
    rest = {name: value for name, value in fields.items() if name not in (CHOSEN, REJECTED)}
    if CHOSEN not in fields and REJECTED not in fields:
        return rest, None
    if REJECTED not in fields:
        raise ValueError(f"{about}: {CHOSEN} without {REJECTED}; give both, or name it response")
    if CHOSEN in fields:
        name = "messages" if "prompt" not in rest else "completion"
        return rest | {name: fields[CHOSEN]}, rest | {name: fields[REJECTED]}
    if not (names := [name for name in ANSWERS if name in rest]):
        raise ValueError(f"{about}: {REJECTED} without {CHOSEN}, a response, completion or output; give one of these")
    return rest, rest | {names[0]: fields[REJECTED]}
