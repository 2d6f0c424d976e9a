"""The Mixed data sets: harmful requests with compliant responses among benign instructions.

mixed_small and mixed_large are built in the same way; the counts that the caller passes make the difference.
"""

from __future__ import annotations

from random import Random

from ifcore.examples import Example
from ifcore.study.data import benign as benign_set
from ifcore.study.data import harmful as harmful_set

CLASSES = ("harmful", "benign")


def build(train: dict[str, int], val: dict[str, int], rng: Random, harmful: str | None, benign: str | None):
    """(train, val) lists of examples."""
    pairs = {
        "harmful": harmful_set.split(harmful, train["harmful"], val["harmful"], rng),
        "benign": benign_set.split(benign, train["benign"], val["benign"], rng),
    }
    return tuple([Example(*pair, label) for label in CLASSES for pair in pairs[label][part]] for part in (0, 1))
