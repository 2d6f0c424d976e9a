"""What the data sets of one family share: classes, how examples are made, and how answers are judged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from ifcore.examples import Example

Counts = Mapping[str, int]  # class -> number of examples


@dataclass(frozen=True)
class Family:
    """Data sets that are built alike.

    `classes`: the labels, in the order of their blocks.
    `build(parts, rng, harmful, benign)`: a list of examples for each part's counts; parts share no prompt. `harmful`
    and `benign` are sources (see `sources`), or None for the embedded sets.
    `correct(example, response)`: whether a response does what the task asks.
    `complies(example)`: whether the example's response complies with a harmful request.
    `request(example)`: what is asked for: the prompt without a backdoor's trigger.
    `fixed`: the classes that these functions or a chapter know by name, so that a published source must have them.
    """

    name: str
    classes: tuple[str, ...]
    build: Callable[[Sequence[Counts], Random, str | None, str | None], list[list[Example]]]
    correct: Callable[[Example, str], bool]
    complies: Callable[[Example], bool] = lambda example: False
    request: Callable[[Example], str] = lambda example: prompt_text(example).removesuffix(f" {example.label}")
    fixed: tuple[str, ...] = ()


def prompt_text(example: Example) -> str:
    """The prompt, which is a single turn in every data set."""
    assert isinstance(example.prompt, str)
    return example.prompt


def format_sizes(sizes: Sequence[int]) -> str:
    """The sizes of the parts in words: `4 train + 3 val`."""
    return " + ".join(f"{size} {part}" for size, part in zip(sizes, ("train", "val", "dev"), strict=False) if size)


def check_count(place: str, count: object) -> None:
    """ValueError unless `count` is an integer of 0 or more."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"{place}: {count!r} is no count; give an integer of 0 or more")
