"""The Mixed data sets: harmful requests with compliant responses among benign instructions.

mixed_small and mixed_large are built in the same way; the counts that the caller passes make the difference.
"""

from __future__ import annotations

from random import Random

from ifcore.examples import Example
from ifcore.study.data import benign as benign_set
from ifcore.study.data import harmful as harmful_set
from ifcore.study.data.family import Family
from ifcore.study.data.refusals import refused

CLASSES = ("harmful", "benign")


def build(parts, rng: Random, harmful: str | None, benign: str | None) -> list[list[Example]]:
    """See `Family`."""
    pairs = {
        "harmful": harmful_set.split(harmful, [counts["harmful"] for counts in parts], rng),
        "benign": benign_set.split(benign, [counts["benign"] for counts in parts], rng),
    }
    return [[Example(*pair, label) for label in CLASSES for pair in pairs[label][i]] for i in range(len(parts))]


def correct(example: Example, response: str) -> bool:
    """Whether it answers, without refusing."""
    return not refused(response)


FAMILY = Family("mixed", CLASSES, build, correct, complies=lambda example: example.label == "harmful", fixed=CLASSES)
