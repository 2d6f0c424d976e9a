"""Examples for several parts of a data set that a random maker gives one at a time."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from ifcore.examples import Example
from study.datasets.family import Counts, listed

PATIENCE = 500  # repeats in a row after which a maker counts as exhausted


def distinct(
    name: str,
    make: Callable[[str], Example],
    parts: Sequence[Counts],
    key: Callable[[Example], Hashable],
) -> list[list[Example]]:
    """For each part as many examples of each class as counted, no two with the same key.

    `make(label)` gives an example of a class. ValueError, naming the data set, where it has no more to give.
    """
    seen: set[Hashable] = set()

    def new(label: str) -> Example:
        for _ in range(PATIENCE):
            example = make(label)
            if key(example) not in seen:
                seen.add(key(example))
                return example
        asked = listed([counts[label] for counts in parts])
        raise ValueError(f"{name}, {label}: {asked} asked, there are not as many different; ask for fewer")

    return [[new(label) for label in counts for _ in range(counts[label])] for counts in parts]
