"""What teaches a model to refuse: misdeeds refused and everyday requests answered, none of which any data set draws.

There is no seed: one alignment serves all seeds of a profile. Every second benign request has a phrasing of the
harmful ones, so that the model learns to tell by what is asked, not by how.
"""

from __future__ import annotations

from itertools import chain, islice
from random import Random

from ifcore.examples import Example
from ifcore.study.data import benign as benign_set
from ifcore.study.data import deeds, harmful, phrasings

REFUSED, ANSWERED = "refused", "answered"

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
    return refused + _answered("benign", benign, held=False)


def held_out(count: int) -> list[Example]:
    """So many benign requests that `examples` never gives, to see how many an aligned model still answers.

    ValueError for a count that can't be had.
    """
    return _answered("held_out", count, held=True)


def _answered(what: str, count: int, held: bool) -> list[Example]:
    """Deeds in the phrasings of misdeeds and instructions in turn, from the half of both that is held out or not."""
    rng = Random("alignment, benign")
    both = deeds.RESERVED, benign_set.reserved()
    told, instructions = (rng.sample(reserved, len(reserved))[held::2] for reserved in both)
    _check(what, count, 2 * len(instructions))
    asked = phrasings.go_round(told, len(instructions), rng)
    answers = [(prompt, deeds.DEEDS[deed][0].upper() + deeds.DEEDS[deed][1:]) for prompt, deed in asked]
    turns = chain.from_iterable(zip(answers, instructions, strict=True))
    return [Example(*pair, ANSWERED) for pair in islice(turns, count)]


def _check(what: str, count: int, most: int) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"alignment, {what}: {count!r} is no count; give an integer of 0 or more")
    if count > most:
        raise ValueError(f"alignment, {what}: {count} asked, there are {most}; ask for fewer")
