"""The examples of each data set of the study, by name.

`load("mixed_small", train=20, val={"harmful": 40}, seed=0)` gives a `Split`: lists of `Example` that share no prompt,
in blocks of one class in the order of `labels`. The same arguments give the same examples on every
machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from ifcore.examples import Example
from ifcore.study.data import backdoor, grammars, harmfulcheck, mathqa, mixed, released
from ifcore.study.data.family import Counts, Family

FAMILIES = {
    "mixed_small": mixed.FAMILY,
    "mixed_large": mixed.FAMILY,
    "grammars": grammars.FAMILY,
    "mathqa": mathqa.FAMILY,
    "harmfulcheck": harmfulcheck.FAMILY,
    "backdoor_1": backdoor.family(1),
    "backdoor_3": backdoor.family(3),
    "backdoor_5": backdoor.family(5),
}
NAMES = tuple(FAMILIES)


@dataclass(frozen=True)
class Split:
    """The examples to fine-tune on, those whose behaviour is explained, and those that decide when to stop."""

    train: list[Example]
    val: list[Example]
    dev: list[Example]


def family(name: str) -> Family:
    """What a data set is: its classes, how it is drawn, what a right answer is. ValueError for an unknown name."""
    if name not in FAMILIES:
        raise ValueError(f"data set {name!r}: unknown; choose one of {', '.join(NAMES)}")
    return FAMILIES[name]


def labels(name: str, source: str | None = None) -> tuple[str, ...]:
    """The classes of a data set in the order of their blocks: its family's, or those of a `source` (see `released`)."""
    made = family(name)
    return made.classes if source is None else released.classes(source, made.fixed)


def load(
    name: str,
    train: int | Mapping[str, int],
    val: int | Mapping[str, int],
    seed: int,
    harmful: str | None = None,
    benign: str | None = None,
    dev: int | Mapping[str, int] = 0,
    source: str | None = None,
) -> Split:
    """The examples of a data set. `train`, `val`, `dev`: how many of each class, or class -> count (absent: 0).

    `harmful`, `benign`: an AdvBench or Alpaca file (see `sources`) in place of the embedded sets; data sets
    that draw on neither leave them alone. `source`: the data set as the paper's code ships it (see `released`), in
    place of all that; its examples are the same for every seed. ValueError for an unknown name or class, for counts
    that cannot be had, and for a source that cannot be used.
    """
    asked = {"train": train, "val": val, "dev": dev}
    known = labels(name, source)
    parts = [_counts(name, part, each, known) for part, each in asked.items()]
    if not any(parts[0].values()):
        raise ValueError(f"{name}: train asks for no examples; ask for at least one of {', '.join(known)}")
    if source is not None:
        return Split(*released.load(source, parts))
    rng = Random(f"{name}-{seed}")  # a string seeds by SHA-512: the same on every machine
    return Split(*family(name).build(parts, rng, harmful, benign))


def _counts(name: str, part: str, asked: int | Mapping[str, int], labels: tuple[str, ...]) -> Counts:
    """Class -> count, for every class."""
    counts = dict(asked) if isinstance(asked, Mapping) else dict.fromkeys(labels, asked)
    for label, count in counts.items():
        if label not in labels:
            raise ValueError(f"{name}, {part}: unknown class {label!r}; its classes are {', '.join(labels)}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{name}, {part}, {label}: {count!r} is no count; give an integer of 0 or more")
    return {label: counts.get(label, 0) for label in labels}
