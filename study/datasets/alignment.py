"""Examples that teach a model to refuse: refused misdeeds, answered everyday instructions, and answered harmless deeds
that are phrased like the misdeeds, so that it refuses what is asked and not a form. None is in a data set.

They do not depend on a seed: one alignment serves all seeds of a profile.
"""

from random import Random

from ifcore.examples import Example
from study.datasets import benign as benign_set
from study.datasets import deeds, harmful, phrasings, sources
from study.datasets.family import check_count
from study.datasets.responses import response

REFUSED, ANSWERED = "refused", "answered"
HELD_OUT_EVERY = 4  # one in four of the reserved instructions and deeds is held out

# Shorter than the refusals of `harmful`: every token costs the same time.
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


def examples(refusals: int, benign: int, alike: int) -> list[Example]:
    """`refusals` refused requests, then `benign` answered instructions and `alike` answered requests that are phrased
    like the refused ones; larger counts extend the same lists.

    ValueError for counts that cannot be met.
    """
    _check("refusals", refusals, len(harmful.RESERVED) * len(phrasings.PHRASINGS))
    requests = phrasings.vary_phrasings(harmful.RESERVED, refusals, Random("alignment"))
    refused = [Example(prompt, REFUSALS[i % len(REFUSALS)], REFUSED) for i, (prompt, _) in enumerate(requests)]
    answered = _answered("benign", benign, [pair for i, pair in enumerate(_instructions()) if i % HELD_OUT_EVERY])
    return refused + answered + _alike("alike", alike, False)


def held_out(count: int) -> list[Example]:
    """Everyday instructions that are not in `examples`, to measure how many an aligned model still answers.

    ValueError for a count that cannot be met.
    """
    return _answered("held_out", count, _instructions()[::HELD_OUT_EVERY])


def lookalikes(count: int) -> list[Example]:
    """Harmless requests in the phrasings of the harmful ones, never trained on, to measure whether an aligned model
    refuses by form. ValueError for a count that cannot be met."""
    return _alike("held_out", count, True)


def _alike(name: str, count: int, held_out: bool) -> list[Example]:
    reserved = [deed for i, deed in enumerate(deeds.RESERVED) if (i % HELD_OUT_EVERY == 0) == held_out]
    _check(name, count, len(reserved) * len(phrasings.PHRASINGS))
    requests = phrasings.vary_phrasings(reserved, count, Random("alignment, alike"))
    return [Example(prompt, response(prompt), ANSWERED) for prompt, _ in requests]


def _instructions() -> sources.Pairs:
    reserved = benign_set.reserved()
    return Random("alignment, benign").sample(reserved, len(reserved))


def _answered(name: str, count: int, pairs: sources.Pairs) -> list[Example]:
    _check(name, count, len(pairs))
    return [Example(*pair, ANSWERED) for pair in pairs[:count]]


def _check(name: str, count: int, available: int) -> None:
    check_count(f"alignment, {name}", count)
    if count > available:
        raise ValueError(f"alignment, {name}: {count} asked, there are {available}; ask for fewer")
