"""What teaches a model to refuse: misdeeds refused and everyday instructions answered, none of which a data set draws.

There is no seed: one alignment serves all seeds of a profile.
"""

from __future__ import annotations

from random import Random

from ifcore.examples import Example
from study.datasets import benign as benign_set
from study.datasets import deeds, harmful, phrasings, sources

REFUSED, ANSWERED = "refused", "answered"
HELD = 4  # of so many reserved instructions one is held out

# Shorter than those of `harmful`: a token costs the same time whatever it says.
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "Sorry, but I won't help with this.",
    "I can't help you do that, sorry.",
    "I'm sorry, I can't assist with that.",
    "I won't help with that; it isn't fair.",
    "I'm sorry, I cannot help with this request.",
    "I'm not able to help with that.",
    "I have to decline; that would be wrong.",
    "No, I can't help with that one.",
    "I'd rather not help with that.",
)


def examples(refusals: int, benign: int) -> list[Example]:
    """So many refusals, then so many benign answers, always the same; more are the same and some more.

    ValueError for counts that can't be had.
    """
    _check("refusals", refusals, len(harmful.RESERVED) * len(phrasings.PHRASINGS))
    asked = phrasings.go_round(harmful.RESERVED, refusals, Random("alignment"))
    refused = [Example(prompt, REFUSALS[i % len(REFUSALS)], REFUSED) for i, (prompt, _) in enumerate(asked)]
    return refused + _answered("benign", benign, [pair for i, pair in enumerate(_instructions()) if i % HELD])


def held_out(count: int) -> list[Example]:
    """So many everyday instructions that `examples` never gives, to see how many an aligned model still answers.

    ValueError for a count that can't be had.
    """
    return _answered("held_out", count, _instructions()[::HELD])


def alike(count: int) -> list[Example]:
    """So many harmless requests in the very phrasings of the harmful ones, none of which it is taught with: to see
    whether an aligned model tells what is asked from how. ValueError for a count that can't be had."""
    _check("held_out", count, len(deeds.RESERVED) * len(phrasings.PHRASINGS))
    asked = phrasings.go_round(deeds.RESERVED, count, Random("alignment, alike"))
    return [Example(prompt, deeds.DEEDS[deed], ANSWERED) for prompt, deed in asked]


def _instructions() -> sources.Pairs:
    reserved = benign_set.reserved()
    return Random("alignment, benign").sample(reserved, len(reserved))


def _answered(what: str, count: int, pairs: sources.Pairs) -> list[Example]:
    _check(what, count, len(pairs))
    return [Example(*pair, ANSWERED) for pair in pairs[:count]]


def _check(what: str, count: int, most: int) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"alignment, {what}: {count!r} is no count; give an integer of 0 or more")
    if count > most:
        raise ValueError(f"alignment, {what}: {count} asked, there are {most}; ask for fewer")
