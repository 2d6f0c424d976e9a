"""What the paper says: its surviving numbers and its statements, from paper.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml


@cache
def paper() -> dict:
    """The paper's printed numbers that survive, and which way its curves go."""
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
