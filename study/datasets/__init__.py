"""The data sets of the study, by name.

`load("mixed_small", train=20, val={"harmful": 40}, seed=0)` returns a `Split`: lists of `Example` that share no prompt,
in blocks of one class, in the order of `labels`. The same arguments give the same examples on every machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ifcore.examples import Example
from study.datasets import backdoor, facts, grammars, grammars_rule, harmfulcheck, mathqa, mixed, train_test_files
from study.datasets.family import Counts, Family, check_count

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
    """Examples to fine-tune on (train), to explain (val), and to decide when training stops (dev)."""

    train: list[Example]
    val: list[Example]
    dev: list[Example]


def family(name: str) -> Family:
    """The data set's classes, how its examples are made and how answers are judged. ValueError for an unknown name."""
    if name not in FAMILIES:
        raise ValueError(f"data set {name!r}: unknown; choose one of {', '.join(NAMES)}")
    return FAMILIES[name]


def requests(name: str, examples: Sequence[Example]) -> list[str]:
    """What each example asks for: the clusters of confidence intervals over the examples."""
    return [family(name).request(example) for example in examples]


def labels(name: str, source: str | None = None) -> tuple[str, ...]:
    """The classes in the order of their blocks: the family's, or those of a `source` (see `paper_format`)."""
    classes = family(name).classes
    return classes if source is None else train_test_files.classes(source, family(name).fixed)


def select_classes(name: str, classes: int | Sequence[str] | None = None, source: str | None = None) -> tuple[str, ...]:
    """The named classes, the first `classes` of them, or all, in the family's order.

    ValueError for an unknown data set or class, and for a number out of range.
    """
    available = labels(name, source)
    if classes is None:
        return available
    description = f"its {len(available)} classes are {', '.join(available)}"
    if isinstance(classes, int):
        if isinstance(classes, bool) or not 1 <= classes <= len(available):
            allowed = f"give 1 to {len(available)}, or some of their names"
            raise ValueError(f"{name}, classes: {classes!r}; {description}; {allowed}")
        return available[:classes]
    if unknown := next((label for label in classes if label not in available), None):
        raise ValueError(f"{name}, classes: unknown class {unknown!r}; {description}")
    return tuple(label for label in available if label in classes)


def class_counts(
    name: str,
    part: str,
    size: int | Mapping[str, int],
    classes: int | Sequence[str] | None = None,
    source: str | None = None,
) -> Counts:
    """Class -> number of examples, for every class of a data set; 0 for classes that are not selected.

    `size` is the number for each selected class, or a mapping; `part` names the part in error messages. ValueError for
    a class that is not selected, and for a number that is not a count.
    """
    selected = select_classes(name, classes, source)
    counts = dict(size) if isinstance(size, Mapping) else dict.fromkeys(selected, size)
    for label, count in counts.items():
        if label not in selected:
            raise ValueError(f"{name}, {part}: unknown class {label!r}; its classes are {', '.join(selected)}")
        check_count(f"{name}, {part}, {label}", count)
    return {label: counts.get(label, 0) for label in labels(name, source)}


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
    """The examples of a data set.

    `train`, `val`, `dev`: how many of each class, or class -> count (absent: 0).
    `classes`: which classes have examples, by name or the first so many; None: all.
    `harmful`, `benign`: an AdvBench or Alpaca file (see `sources`) that replaces the embedded set; data sets that use
    neither ignore them.
    `source`: a data set in the format of the paper's code (see `paper_format`), which replaces everything else; its
    examples are the same for every seed.
    ValueError for an unknown name or class, for counts that cannot be met, and for an unusable source.
    """
    sizes = {"train": train, "val": val, "dev": dev}
    parts = [class_counts(name, part, size, classes, source) for part, size in sizes.items()]
    if not any(parts[0].values()):
        selected = ", ".join(select_classes(name, classes, source))
        raise ValueError(f"{name}: train asks for no examples; ask for at least one of {selected}")
    if source is not None:
        return Split(*train_test_files.load(source, parts))
    rng = Random(f"{name}-{seed}")  # a string is hashed by SHA-512: the same on every machine
    return Split(*family(name).build(parts, rng, harmful, benign))
