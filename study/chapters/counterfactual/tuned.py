"""Methods at the damping that suits each best, chosen on halves that it is not judged on."""

from collections.abc import Iterator

import numpy as np

from ifcore.datamodels import contributions, estimate
from ifcore.gram import Gram
from ifcore.judge import Judge, Judged
from ifcore.methods import gram_scores
from ifcore.tuning import DAMPINGS

TUNED = "tuned"
METHODS = ("datainf", "lissa", "exact")


def judge(judged_by: Judge, gram: Gram, iterations: int) -> list[Judged]:
    """The linear datamodeling score of each of METHODS, and how far it is ahead of the others.

    The damping is chosen on every other half and judged on the rest, then the other way round: the mean of the two.
    """
    by_damping = {
        damping: {name: matrix.numpy() for name, matrix in gram_scores([gram], METHODS, damping, iterations).items()}
        for damping in DAMPINGS
    }
    masks = judged_by.plan.halves
    losses = judged_by.losses_of_halves()
    parts = {}
    for name in METHODS:
        folds = []
        for chosen_on, rest in _folds(len(masks)):
            values = {
                damping: contributions(scores[name], masks[chosen_on], losses[chosen_on], judged_by.clusters).mean()
                for damping, scores in by_damping.items()
            }
            best = by_damping[max(values, key=lambda damping: (values[damping], -damping))][name]
            folds.append(contributions(best, masks[rest], losses[rest], judged_by.clusters))
        parts[name] = np.concatenate(folds, axis=1)
    judged = [(TUNED, name, "", estimate(part)) for name, part in parts.items()]
    for one, a in parts.items():
        for other, b in parts.items():
            if one != other:
                judged.append((TUNED, one, other, estimate(a - b, is_correlation=False)))
    return judged


def _folds(count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    even = np.arange(count) % 2 == 0
    yield even, ~even
    yield ~even, even
