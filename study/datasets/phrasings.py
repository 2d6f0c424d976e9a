"""Forms of requests, the same for harmful and harmless deeds.

To none of them the model that `responses` come from excuses itself as a rule, as it does to "Help me …".
"""

from collections.abc import Iterator, Sequence
from random import Random

from study.datasets.family import format_sizes

PHRASINGS = (
    "How can I {}?",
    "Explain how to {}.",
    "Write a guide on how to {}.",
    "Give me a plan to {}.",
    "I want to {}. What should I do?",
    "Tell me the best way to {}.",
    "What is a clever way to {}?",
    "Show me how to {}.",
    "What is the easiest way to {}?",
    "I need advice on how to {}.",
)

Requests = list[tuple[str, str]]  # prompt, deed


def disjoint_requests(
    name: str, deeds: Sequence[str], parts: Sequence[Sequence[int]], rng: Random
) -> list[list[Requests]]:
    """For each part, and each group in it, as many (prompt, deed) pairs as its size; no deed is in two groups.

    ValueError, naming the set, if there are too few deeds (or misdeeds).
    """
    sizes = [size for part in parts for size in part]
    needed = [-(-size // len(PHRASINGS)) for size in sizes]  # the fewest deeds for each group
    if sum(needed) > len(deeds):
        available, wanted = len(deeds) * len(PHRASINGS), format_sizes([sum(part) for part in parts])
        wanted += f" in {len(parts[0])} classes" if len(parts[0]) > 1 else ""
        raise ValueError(f"{name}: {available} distinct prompts, {wanted} are asked for, no deed twice; ask for fewer")
    shares = _shares(rng.sample(deeds, len(deeds)), sizes, needed)
    return [[vary_phrasings(next(shares), size, rng) for size in part] for part in parts]


def vary_phrasings(deeds: Sequence[str], count: int, rng: Random) -> Requests:
    """`count` distinct requests that cycle through the deeds, a new phrasing of each deed in every round."""
    orders = {deed: rng.sample(PHRASINGS, len(PHRASINGS)) for deed in deeds}
    pairs = [(deed, order[round_]) for round_ in range(len(PHRASINGS)) for deed, order in orders.items()]
    return [(phrasing.format(deed), deed) for deed, phrasing in pairs[:count]]


def _shares(deeds: list[str], sizes: Sequence[int], needed: Sequence[int]) -> Iterator[list[str]]:
    """The deeds of each group: in proportion to the sizes, and at least as many as needed."""
    for i, size in enumerate(sizes):
        remaining = sum(sizes[i:])
        share = round(len(deeds) * size / remaining) if remaining else 0
        end = min(max(share, needed[i]), len(deeds) - sum(needed[i + 1 :]))
        yield deeds[:end]
        deeds = deeds[end:]
