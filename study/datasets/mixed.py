"""The Mixed data sets: harmful requests with compliant responses among benign instructions.

mixed_small and mixed_large are built in the same way; the counts that the caller passes make the difference.
In mixed_hard the benign requests have the phrasings of the harmful ones, and the responses of both open alike, so
that neither form gives the class away. A published file would give it away: mixed_hard draws on the embedded sets only.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from ifcore.examples import Example
from study.datasets import benign as benign_set
from study.datasets import deeds, sources
from study.datasets import harmful as harmful_set
from study.datasets.family import Counts, Family
from study.datasets.refusals import refused

CLASSES = ("harmful", "benign")


def build(parts, rng: Random, harmful: str | None, benign: str | None) -> list[list[Example]]:
    """See `Family`."""
    asked = _sizes(parts)
    return _blocks(harmful_set.split(harmful, asked["harmful"], rng), benign_set.split(benign, asked["benign"], rng))


def build_hard(parts, rng: Random, harmful=None, benign=None) -> list[list[Example]]:
    """See `Family`; mixed_hard draws on no source."""
    asked = _sizes(parts)
    return _blocks(harmful_set.split(None, asked["harmful"], rng), deeds.split(asked["benign"], rng))


def correct(example: Example, response: str) -> bool:
    """Whether it answers, without refusing."""
    return not refused(response)


def _sizes(parts: Sequence[Counts]) -> dict[str, list[int]]:
    return {label: [counts[label] for counts in parts] for label in CLASSES}


def _blocks(harmful: Sequence[sources.Pairs], benign: Sequence[sources.Pairs]) -> list[list[Example]]:
    """The examples of each part, harmful ones first."""
    return [
        [Example(*pair, label) for label, pairs in zip(CLASSES, part, strict=True) for pair in pairs]
        for part in zip(harmful, benign, strict=True)
    ]


FAMILY = Family("mixed", CLASSES, build, correct, complies=lambda example: example.label == "harmful", fixed=CLASSES)
# No `complies`: a generator's answers would have a form of their own.
HARD = Family("mixed", CLASSES, build_hard, correct)
