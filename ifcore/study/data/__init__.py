"""The examples of each data set of the study, by name.

`load("mixed_small", train=20, val={"harmful": 40}, seed=0)` gives a `Split`: lists of `Example` for training
and for validation that share no prompt, in blocks of one class in the order of `classes(name)`. The same
arguments give the same examples on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from ifcore.examples import Example
from ifcore.study.data import backdoor, grammars, harmfulcheck, mathqa, mixed

_FAMILIES = {  # name -> (classes, builder)
    "mixed_small": (mixed.CLASSES, mixed.build),
    "mixed_large": (mixed.CLASSES, mixed.build),
    "grammars": (grammars.CLASSES, grammars.build),
    "mathqa": (mathqa.CLASSES, mathqa.build),
    "harmfulcheck": (harmfulcheck.CLASSES, harmfulcheck.build),
    "backdoor_1": (backdoor.classes(1), backdoor.build),
    "backdoor_3": (backdoor.classes(3), backdoor.build),
    "backdoor_5": (backdoor.classes(5), backdoor.build),
}
NAMES = tuple(_FAMILIES)


@dataclass(frozen=True)
class Split:
    """The examples to fine-tune on, and those whose behaviour is explained."""

    train: list[Example]
    val: list[Example]


def classes(name: str) -> tuple[str, ...]:
    """The labels of a data set, in the order of their blocks."""
    if name not in _FAMILIES:
        raise ValueError(f"data set {name!r}: unknown; choose one of {', '.join(NAMES)}")
    return _FAMILIES[name][0]


def complies(name: str, example: Example) -> bool:
    """Whether an example of a data set answers a harmful request as it was asked to."""
    if name.startswith("mixed"):
        return example.label == "harmful"
    return name.startswith("backdoor") and example.label != backdoor.CLEAN


def load(
    name: str,
    train: int | Mapping[str, int],
    val: int | Mapping[str, int],
    seed: int,
    harmful: str | None = None,
    benign: str | None = None,
) -> Split:
    """The examples of a data set. `train`, `val`: how many of each class, or class -> count (absent: 0).

    `harmful`, `benign`: an AdvBench or Alpaca file (see `sources`) in place of the embedded sets; data sets
    that draw on neither leave them alone. ValueError for an unknown name or class, and for counts that
    cannot be had.
    """
    labels = classes(name)
    counts = [_counts(name, part, asked, labels) for part, asked in (("train", train), ("val", val))]
    if not any(counts[0].values()):
        raise ValueError(f"{name}: train asks for no examples; ask for at least one of {', '.join(labels)}")
    rng = Random(f"{name}-{seed}")  # a string seeds by SHA-512: the same on every machine
    return Split(*_FAMILIES[name][1](*counts, rng, harmful, benign))


def _counts(name: str, part: str, asked: int | Mapping[str, int], labels: tuple[str, ...]) -> dict[str, int]:
    """Class -> count, for every class."""
    counts = dict(asked) if isinstance(asked, Mapping) else dict.fromkeys(labels, asked)
    for label, count in counts.items():
        if label not in labels:
            raise ValueError(f"{name}, {part}: unknown class {label!r}; its classes are {', '.join(labels)}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{name}, {part}, {label}: {count!r} is no count; give an integer of 0 or more")
    return {label: counts.get(label, 0) for label in labels}
