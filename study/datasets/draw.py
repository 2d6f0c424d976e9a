"""Distinct examples for several parts of a data set, made one at a time at random."""

from collections.abc import Callable, Hashable, Sequence

from ifcore.examples import Example
from study.datasets.family import Counts, format_sizes

MAX_REPEATS = 500  # repeats in a row after which `make` counts as exhausted


def draw_distinct(
    name: str,
    make: Callable[[str], Example],
    parts: Sequence[Counts],
    key: Callable[[Example], Hashable],
) -> list[list[Example]]:
    """For each part the counted number of examples of each class, no two with the same key.

    `make(label)` makes a random example of a class. ValueError, naming the data set `name`, once it only repeats.
    """
    seen: set[Hashable] = set()

    def draw(label: str) -> Example:
        for _ in range(MAX_REPEATS):
            example = make(label)
            if key(example) not in seen:
                seen.add(key(example))
                return example
        sizes = format_sizes([counts[label] for counts in parts])
        raise ValueError(f"{name}, {label}: {sizes} asked, there are not as many different; ask for fewer")

    return [[draw(label) for label in counts for _ in range(counts[label])] for counts in parts]
