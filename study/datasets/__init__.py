"""The examples of each data set of the study, by name.

`load("mixed_small", train=20, val={"harmful": 40}, seed=0)` gives a `Split`: lists of `Example` that share no prompt,
in blocks of one class in the order of `labels`. The same arguments give the same examples on every
machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ifcore.examples import Example
from study.datasets import backdoor, facts, grammars, grammars_rule, harmfulcheck, mathqa, mixed, released
from study.datasets.family import Counts, Family

FAMILIES = {
    "mixed_small": mixed.FAMILY,
    "mixed_large": mixed.FAMILY,
    "mixed_hard": mixed.HARD,
    "grammars": grammars.FAMILY,
    "grammars_rule": grammars_rule.FAMILY,
    "mathqa": mathqa.FAMILY,
    "harmfulcheck": harmfulcheck.FAMILY,
    "backdoor_1": backdoor.family(1),
    "backdoor_3": backdoor.family(3),
    "backdoor_5": backdoor.family(5),
    "facts": facts.FAMILY,
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


def requests(name: str, examples: Sequence[Example]) -> list[str]:
    """What each example of a data set asks for: the clusters of an interval over them."""
    return [family(name).request(example) for example in examples]


def labels(name: str, source: str | None = None) -> tuple[str, ...]:
    """The classes of a data set in the order of their blocks: its family's, or those of a `source` (see `released`)."""
    made = family(name)
    return made.classes if source is None else released.classes(source, made.fixed)


def chosen(name: str, classes: int | Sequence[str] | None = None, source: str | None = None) -> tuple[str, ...]:
    """The classes that a data set is cut down to: those named, the first so many, or all; in the family's order.

    ValueError for an unknown name or class, or a number that it has not.
    """
    every = labels(name, source)
    if classes is None:
        return every
    known = f"its {len(every)} classes are {', '.join(every)}"
    if isinstance(classes, int):
        if isinstance(classes, bool) or not 1 <= classes <= len(every):
            raise ValueError(f"{name}, classes: {classes!r}; {known}; give 1 to {len(every)}, or some of their names")
        return every[:classes]
    if unknown := next((label for label in classes if label not in every), None):
        raise ValueError(f"{name}, classes: unknown class {unknown!r}; {known}")
    return tuple(label for label in every if label in classes)


def counts(
    name: str,
    part: str,
    asked: int | Mapping[str, int],
    classes: int | Sequence[str] | None = None,
    source: str | None = None,
) -> Counts:
    """Class -> how many examples, for every class of a data set; 0 for those that are not `chosen`.

    `part`: what a complaint calls it. ValueError for a class that is not among the chosen, and for what is no count.
    """
    known = chosen(name, classes, source)
    found = dict(asked) if isinstance(asked, Mapping) else dict.fromkeys(known, asked)
    for label, count in found.items():
        if label not in known:
            raise ValueError(f"{name}, {part}: unknown class {label!r}; its classes are {', '.join(known)}")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ValueError(f"{name}, {part}, {label}: {count!r} is no count; give an integer of 0 or more")
    return {label: found.get(label, 0) for label in labels(name, source)}


def load(
    name: str,
    train: int | Mapping[str, int],
    val: int | Mapping[str, int],
    seed: int,
    harmful: str | None = None,
    benign: str | None = None,
    dev: int | Mapping[str, int] = 0,
    classes: int | Sequence[str] | None = None,
    source: str | None = None,
) -> Split:
    """The examples of a data set. `train`, `val`, `dev`: how many of each class, or class -> count (absent: 0).

    `classes`: the names of those that have examples, or how many of the first; absent: all.
    `harmful`, `benign`: an AdvBench or Alpaca file (see `sources`) in place of the embedded sets; data sets
    that draw on neither leave them alone. `source`: the data set as the paper's code ships it (see `released`), in
    place of all that; its examples are the same for every seed. ValueError for an unknown name or class, for counts
    that cannot be had, and for a source that cannot be used.
    """
    asked = {"train": train, "val": val, "dev": dev}
    parts = [counts(name, part, each, classes, source) for part, each in asked.items()]
    if not any(parts[0].values()):
        known = ", ".join(chosen(name, classes, source))
        raise ValueError(f"{name}: train asks for no examples; ask for at least one of {known}")
    if source is not None:
        return Split(*released.load(source, parts))
    rng = Random(f"{name}-{seed}")  # a string seeds by SHA-512: the same on every machine
    return Split(*family(name).build(parts, rng, harmful, benign))
