"""What the paper says: its surviving numbers and its statements, from paper.yaml."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml


@cache
def paper() -> dict:
    """The paper's printed numbers that survive, and which way its curves go."""
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def stated(figure: str, dataset: str) -> str:
    """What the paper says of a data set's curve in a figure; of one of its forms, what it says of the data set."""
    return paper()[figure][_FORMS.get(dataset, dataset)]


_FORMS = {"grammars_rule": "grammars"}
