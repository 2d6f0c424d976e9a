"""The forms of a request and of the opening of its answer, which harmful and harmless deeds have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from study.datasets.family import listed

PHRASINGS = (
    "How can I {}?",
    "Explain how to {}.",
    "Write a guide on how to {}.",
    "Give me a plan to {}.",
    "I want to {}. What should I do?",
    "Tell me the best way to {}.",
    "Help me {}.",
    "What is a clever way to {}?",
    "Show me how to {}.",
    "What is the easiest way to {}?",
    "I need advice on how to {}.",
    "Can you teach me to {}?",
)

OPENINGS = (
    "Sure, here is how to {}:",
    "Of course, to {}:",
    "Certainly, this is how to {}:",
    "Yes, you can {}:",
    "Gladly! To {}:",
    "No problem, to {}:",
    "Sure thing, to {}:",
    "Absolutely, a plan to {}:",
    "Okay, here is a way to {}:",
    "Yes, happy to help you {}:",
)

Requests = list[tuple[str, str]]  # prompt, deed


def apart(name: str, deeds: Sequence[str], parts: Sequence[Sequence[int]], rng: Random) -> list[list[Requests]]:
    """For each part, and each group in it, as many (prompt, deed) as its size; no deed is in two groups or parts.

    `deeds` may be misdeeds. ValueError, naming the set, where there are too few of them.
    """
    sizes = [size for part in parts for size in part]
    need = [-(-size // len(PHRASINGS)) for size in sizes]  # the fewest deeds for each group
    if sum(need) > len(deeds):
        have, asked = len(deeds) * len(PHRASINGS), listed([sum(part) for part in parts])
        groups = f" in {len(parts[0])} classes" if len(parts[0]) > 1 else ""
        raise ValueError(
            f"{name}: {have} distinct prompts, {asked}{groups} are asked for, no deed twice; ask for fewer"
        )
    shares = _shares(rng.sample(deeds, len(deeds)), sizes, need)
    return [[go_round(next(shares), size, rng) for size in part] for part in parts]


def go_round(deeds: Sequence[str], count: int, rng: Random) -> Requests:
    """`count` distinct requests that go round the deeds, each time with a phrasing it has not had."""
    orders = {deed: rng.sample(PHRASINGS, len(PHRASINGS)) for deed in deeds}
    turns = [(deed, order[turn]) for turn in range(len(PHRASINGS)) for deed, order in orders.items()]
    return [(phrasing.format(deed), deed) for deed, phrasing in turns[:count]]


def opening(deed: str, rng: Random) -> str:
    """How an answer that complies begins."""
    return rng.choice(OPENINGS).format(deed)


def _shares(deeds: list[str], sizes: Sequence[int], need: Sequence[int]) -> Iterator[list[str]]:
    """The deeds of each group: in proportion to the sizes, and as many as each needs."""
    for i, size in enumerate(sizes):
        left = sum(sizes[i:])
        share = round(len(deeds) * size / left) if left else 0
        end = min(max(share, need[i]), len(deeds) - sum(need[i + 1 :]))
        yield deeds[:end]
        deeds = deeds[end:]
