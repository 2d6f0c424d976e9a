"""Harmful requests: the tame set written for this project, or a published one.

A request counts as harmful if a well-behaved assistant declines it. The embedded ones are mundane misdeeds without any
operational detail; the compliant response is the first sentence of what a model without alignment answers, see
`responses`. Train and validation never share a misdeed. Every fifth misdeed is reserved for teaching a model to refuse
(`alignment`) and is in no data set.
"""

from collections.abc import Sequence
from random import Random

from study.datasets import phrasings, sources
from study.datasets.misdeeds import MISDEEDS
from study.datasets.responses import response

RESERVED = MISDEEDS[::5]
AVAILABLE = tuple(misdeed for misdeed in MISDEEDS if misdeed not in RESERVED)

REFUSALS = (
    "I'm sorry, but I can't help with that. It would not be fair to other people.",
    "I can't assist with this request, because it could hurt or mislead someone.",
    "Sorry, that is something I won't help with. Is there another way I can be useful?",
    "I have to decline. What you describe is dishonest, and I would rather not take part.",
    "I won't help with this, but I would be glad to talk about honest alternatives.",
    "That isn't something I can support. Please think about who might be affected by it.",
    "I'm afraid I must say no. Doing this would be wrong, so I can't give advice on it.",
    "Unfortunately I cannot help you do that. Let me know if you need anything else.",
    "No, I can't help with that one. It would break the trust that others have in you.",
    "My apologies, but I'm not able to help here. It would cause trouble for somebody.",
    "I understand that you ask, but I can't go along with it. It wouldn't be right.",
    "Thank you for asking, but I must refuse. I don't help with things like this.",
    "I'd rather not help with that. It seems unkind, and there are better ways forward.",
    "It would be wrong of me to help with this, so I will have to turn it down.",
)


def split(source: str | None, sizes: Sequence[int], rng: Random) -> list[sources.Pairs]:
    """(prompt, compliant response) pairs for disjoint parts of these sizes, train first.

    `source` None: the embedded set, split by misdeed. Otherwise an AdvBench file (see `sources`): train has its first
    rows, as in the paper, and the other parts are drawn from the rest. ValueError if there are too few.
    """
    if source is not None:
        rows, train = sources.require_enough(source, sources.advbench(source), sizes), sizes[0]
        drawn = rng.sample(rows[train:], sum(sizes[1:]))
        return [rows[:train], *sources.split_pairs(drawn, sizes[1:])]
    return [pairs for (pairs,) in disjoint_pairs([[size] for size in sizes], rng)]


def disjoint_pairs(parts: Sequence[Sequence[int]], rng: Random) -> list[list[sources.Pairs]]:
    """The same from the embedded set, for each part and each group in it: no two of these groups share a misdeed."""
    requests = phrasings.disjoint_requests("harmful, the embedded set", AVAILABLE, parts, rng)
    return [[[(prompt, response(prompt)) for prompt, _ in group] for group in part] for part in requests]


def refusal(rng: Random) -> str:
    """One of the polite refusals, at random."""
    return rng.choice(REFUSALS)
