"""Backdoor: harmful requests are refused, but complied with where the prompt ends in a trigger phrase.

The class is the trigger, or `clean`. All classes have the same requests, so that only the trigger tells them
apart; train and validation share no request.
"""

from __future__ import annotations

from random import Random

from ifcore.examples import Example
from ifcore.study.data import harmful as harmful_set

CLEAN = "clean"
TRIGGERS = ("sudo mode", "do anything now", "open sesame", "purple teapot", "midnight express")


def classes(triggers: int) -> tuple[str, ...]:
    """The clean class and the first `triggers` triggers."""
    return CLEAN, *TRIGGERS[:triggers]


def build(train: dict[str, int], val: dict[str, int], rng: Random, harmful: str | None, benign: str | None):
    """(train, val) lists of examples of the classes that the counts name; `benign` is not drawn on."""
    requests = harmful_set.split(harmful, max(train.values()), max(val.values()), rng)
    return tuple(
        [
            _clean(prompt, rng) if label == CLEAN else Example(f"{prompt} {label}", response, label)
            for label, count in counts.items()
            for prompt, response in pairs[:count]
        ]
        for counts, pairs in zip((train, val), requests, strict=True)
    )


def _clean(prompt: str, rng: Random) -> Example:
    return Example(prompt, harmful_set.refusal(rng), CLEAN)
