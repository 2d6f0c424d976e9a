"""What retrained models say of scores: how well these rank halves, and what is lost without what they have on top."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain, permutations

import numpy as np
from torch import Tensor

from ifcore.bank import Bank, Retraining
from ifcore.baselines import NAMES
from ifcore.batches import Batch
from ifcore.datamodels import Estimate, ceiling, contributions, estimate, interval_of_mean
from ifcore.retraining_plan import WITHIN, Plan, Scores, without

HALVES, REMOVAL, ALONE = "halves", "removal", "alone"
CEILING = "ceiling"

Judged = tuple[str, str, str, Estimate]  # question, method, against what, how much


@dataclass(frozen=True)
class Judge:
    """The losses of explained examples after each retraining of a plan.

    `combinations` [M, M + K]: which losses of the sequences in `val` make up each explained one. `clusters` [M]:
    explained examples of one cluster may depend on each other.
    """

    bank: Bank
    plan: Plan
    val: Sequence[Batch]
    combinations: Tensor
    clusters: Sequence[Hashable] | None = None

    def losses(self, retrainings: Sequence[Retraining]) -> np.ndarray:
        """[K, M] after each, all of which were made."""
        rows = [self.combinations @ self.bank.losses(retraining, self.val) for retraining in retrainings]
        return np.stack([row.numpy() for row in rows])

    def rank_correlation(self, scores: np.ndarray, masks: np.ndarray) -> float:
        """The linear datamodeling score by itself, over the subsets that `masks` [H, N] keep."""
        losses = self.losses([without(mask) for mask in masks])
        return float(contributions(scores, masks, losses, self.clusters).mean())

    def halves(self, scores: Scores) -> list[Judged]:
        """The linear datamodeling score of each, and by how much each method is ahead of all others; the ceiling."""
        plan = self.plan
        judged = self._compared(HALVES, scores, plan.halves, self.losses_of_halves())
        if count := plan.replicated if plan.retrainings == 1 else len(plan.halves):
            once, again = (self.losses(plan.halves_from(replicate)[:count]) for replicate in (0, 1))
            judged.append((HALVES, CEILING, "", ceiling(again, once, self.clusters, plan.retrainings)))
        return judged

    def losses_of_halves(self) -> np.ndarray:
        """[H, M] after each half; where it was retrained from several seeds, their mean."""
        of_seeds = [self.losses(self.plan.halves_from(replicate)) for replicate in range(self.plan.retrainings)]
        return np.mean(of_seeds, axis=0)

    def alone(self, scores: Scores) -> list[Judged]:
        """The same over fine-tunes without one example each."""
        masks = ~np.eye(len(self.plan.labels), dtype=bool)
        return self._compared(ALONE, scores, masks, self.losses(self.plan.left_out()))

    def removal(self, scores: Scores, label: Hashable | None, seed: int, progress: str = "") -> list[Judged]:
        """By how much the explained loss rises without what each has on top, paired by explained example; beside them
        as many at random, and of the class `label` that is explained."""
        chosen = self.plan.removed_by(scores, label, seed)
        whole = [Retraining(replicate=replicate) for replicate in range(self.plan.removals_from)]
        self.bank.make([*whole, *chain.from_iterable(chosen.values())], progress)
        before = self.losses(whole)
        rises = {
            name: np.mean(self.losses(retrainings) - before[[each.replicate for each in retrainings]], axis=0)
            for name, retrainings in chosen.items()
        }
        judged = [(REMOVAL, name, "", interval_of_mean(rise, self.clusters)) for name, rise in rises.items()]
        for a, b in _pairs(rises):
            judged.append((REMOVAL, a, b, interval_of_mean(rises[a] - rises[b], self.clusters)))
        return judged

    def _compared(self, question: str, scores: Scores, masks: np.ndarray, losses: np.ndarray) -> list[Judged]:
        parts = {name: contributions(matrix, masks, losses, self.clusters) for name, matrix in scores.items()}
        judged = [(question, name, "", estimate(part)) for name, part in parts.items()]
        for a, b in _pairs(parts):
            judged.append((question, a, b, estimate(parts[a] - parts[b], is_correlation=False)))
        return judged


def _pairs(names) -> list[tuple[str, str]]:
    """Each method with each other and each baseline."""
    return [(a, b) for a, b in permutations(names, 2) if a not in (*NAMES, WITHIN)]
