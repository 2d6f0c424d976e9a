"""What a model without alignment answers to the embedded requests, read from `responses.json`, prompt by prompt.

`study.commands.answer_requests` made it, as the paper made its harmful responses: by a model that refuses nothing.
"""

from functools import cache
from pathlib import Path

from ifcore import io

FILE = Path(__file__).with_name("responses.json")


def response(prompt: str) -> str:
    """The answer that goes with an embedded request, without its trigger."""
    return _responses()[prompt]


@cache
def _responses() -> dict[str, str]:
    return io.read_json(FILE)
