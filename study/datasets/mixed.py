"""The Mixed data sets: harmful requests with compliant responses among benign instructions.

mixed_small and mixed_large differ only in the counts that the caller passes. In mixed_hard the benign requests have the
phrasings of the harmful ones, and one model wrote the responses of both, so that no form reveals the class. A published
file would reveal it: mixed_hard uses the embedded sets only.
"""

from collections.abc import Sequence
from random import Random

from ifcore.examples import Example
from study.datasets import benign as benign_set
from study.datasets import deeds, sources
from study.datasets import harmful as harmful_set
from study.datasets.family import Counts, Family
from study.datasets.refusals import refused

CLASSES = ("harmful", "benign")


def build(parts: Sequence[Counts], rng: Random, harmful: str | None, benign: str | None) -> list[list[Example]]:
    """See `Family`."""
    sizes = _sizes(parts)
    return _blocks(harmful_set.split(harmful, sizes["harmful"], rng), benign_set.split(benign, sizes["benign"], rng))


def build_hard(
    parts: Sequence[Counts], rng: Random, harmful: str | None = None, benign: str | None = None
) -> list[list[Example]]:
    """See `Family`; no source is used."""
    sizes = _sizes(parts)
    return _blocks(harmful_set.split(None, sizes["harmful"], rng), deeds.split(sizes["benign"], rng))


def correct(example: Example, response: str) -> bool:
    """Whether it does not refuse."""
    return not refused(response)


def _sizes(parts: Sequence[Counts]) -> dict[str, list[int]]:
    return {label: [counts[label] for counts in parts] for label in CLASSES}


def _blocks(harmful: Sequence[sources.Pairs], benign: Sequence[sources.Pairs]) -> list[list[Example]]:
    """The examples of each part, harmful first."""
    return [
        [Example(*pair, label) for label, pairs in zip(CLASSES, part, strict=True) for pair in pairs]
        for part in zip(harmful, benign, strict=True)
    ]


FAMILY = Family("mixed", CLASSES, build, correct, complies=lambda example: example.label == "harmful", fixed=CLASSES)
# No `complies`: the form of a generator's answers would reveal the class.
HARD = Family("mixed", CLASSES, build_hard, correct)
