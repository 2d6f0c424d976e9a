"""HarmfulCheck: harmful requests that are refused, and harmless instructions that are answered."""

from __future__ import annotations

from random import Random

from ifcore.examples import Example
from ifcore.study.data import benign as benign_set
from ifcore.study.data import harmful as harmful_set

CLASSES = ("harmful", "harmless")


def build(train: dict[str, int], val: dict[str, int], rng: Random, harmful: str | None, benign: str | None):
    """(train, val) lists of examples."""
    requests = harmful_set.split(harmful, train["harmful"], val["harmful"], rng)
    answered = benign_set.split(benign, train["harmless"], val["harmless"], rng)
    return tuple(
        [Example(prompt, harmful_set.refusal(rng), "harmful") for prompt, _ in requests[part]]
        + [Example(*pair, "harmless") for pair in answered[part]]
        for part in (0, 1)
    )
