"""The paper's surviving numbers and statements, from paper.yaml."""

from functools import cache
from pathlib import Path

import yaml


@cache
def paper() -> dict:
    """The paper's printed numbers that survive, and which way its curves go."""
    return yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def stated(figure: str, dataset: str) -> str:
    """What the paper says of a data set's curve in a figure."""
    return paper()[figure]["grammars" if dataset == "grammars_rule" else dataset]
