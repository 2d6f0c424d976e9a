"""What a family of data sets has in common: its classes, how it is drawn, and what a right answer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ifcore.examples import Example

Counts = Mapping[str, int]  # class -> how many examples


@dataclass(frozen=True)
class Family:
    """Data sets that are built alike.

    `classes`: the labels, in the order of their blocks. `build(parts, rng, harmful, benign)`: lists of examples, one
    for each part's counts, that share no prompt; `harmful` and `benign` are sources (see `sources`) or None for the
    embedded sets. `correct(example, response)`: whether a response does what the task asks. `complies(example)`:
    whether the example answers a harmful request as it was asked to. `request(example)`: what is asked for, its prompt
    without the trigger that a backdoor's class is named after. `fixed`: the classes that those two, or a chapter,
    know by name: examples from elsewhere must have them.
    """

    name: str
    classes: tuple[str, ...]
    build: Callable[[Sequence[Counts], Random, str | None, str | None], list[list[Example]]]
    correct: Callable[[Example, str], bool]
    complies: Callable[[Example], bool] = lambda example: False
    request: Callable[[Example], str] = lambda example: example.prompt.removesuffix(f" {example.label}")
    fixed: tuple[str, ...] = ()


def listed(sizes: Sequence[int]) -> str:
    """The sizes of the parts in words: `4 train + 3 val`."""
    return " + ".join(f"{size} {part}" for size, part in zip(sizes, ("train", "val", "dev"), strict=False) if size)
