"""What to retrain for a validation: which subsets, which removals, and what of that fits into some minutes."""

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ifcore.bank import Retraining
from ifcore.baselines import RANDOM
from ifcore.datamodels import FEWEST, count_halves, stratified_halves

DRAWS = 4  # random removals
WITHIN = "random_within"
SMALL = 30  # up to so many training examples are left out one at a time unless told otherwise
MOST = 64  # halves that minutes are spent on
APART = 1_000_003  # between the seeds of halves to judge by and to tune by

Scores = dict[str, np.ndarray]  # method or baseline -> [M, N]


@dataclass(frozen=True)
class Plan:
    """Of N training examples: `halves` to judge by and `tuning` ones for the damping, bool [H, N], each keeping half of
    every class; of the first `replicated` another seed tells the ceiling; `removed` of the top are left out together,
    and, with `alone`, each by itself. What is left out of a half is retrained from `retrainings` seeds, what a score
    has on top from `removals_from`: their mean is judged."""

    labels: tuple[Hashable, ...]
    halves: np.ndarray
    tuning: np.ndarray
    replicated: int
    removed: int
    alone: bool
    retrainings: int = 1
    removals_from: int = 1

    def subsets(self) -> list[Retraining]:
        """What is known before any score, with the fine-tune on all first."""
        chosen = [Retraining(), *self.halves_from(0), *map(without, self.tuning)]
        for replicate in range(1, self.retrainings):
            chosen += self.halves_from(replicate)
        chosen += self.halves_from(1)[: self.replicated] if self.retrainings == 1 else []
        return chosen + (self.left_out() if self.alone else [])

    def halves_from(self, replicate: int) -> list[Retraining]:
        """The halves, from a seed of their own or, 0, the fine-tune's."""
        return [without(mask, replicate) for mask in self.halves]

    def removals(self, names: Collection[str]) -> int:
        """How many fine-tunes those methods and baselines decide, at most."""
        draws = DRAWS * (2 if len(set(self.labels)) > 1 else 1)
        return self.removals_from * len(set(names) - {RANDOM}) + draws if self.removed else 0

    def left_out(self) -> list[Retraining]:
        """Each training example by itself."""
        return [Retraining((place,)) for place in range(len(self.labels))]

    def removed_by(self, scores: Scores, label: Hashable | None, seed: int) -> dict[str, list[Retraining]]:
        """What is left out because of each method and baseline: what its scores, summed over the explained examples,
        have on top; at random of all, DRAWS times, and, where one is named, of a class `label` (WITHIN). Draws take
        turns at the seeds."""
        chosen = {
            name: [replace(self._top(matrix), replicate=replicate) for replicate in range(self.removals_from)]
            for name, matrix in scores.items()
            if name != RANDOM
        }
        chosen[RANDOM] = self._drawn(None, seed)
        return chosen if label is None else chosen | {WITHIN: self._drawn(label, seed)}

    def _top(self, scores: np.ndarray) -> Retraining:
        order = np.argsort(-np.asarray(scores, dtype=float).sum(0), kind="stable")
        return Retraining(tuple(sorted(order[: self.removed].tolist())))

    def _drawn(self, label: Hashable | None, seed: int) -> list[Retraining]:
        places = [place for place, other in enumerate(self.labels) if label is None or other == label]
        draws = [np.random.default_rng([seed, draw]).permutation(places)[: self.removed] for draw in range(DRAWS)]
        return [Retraining(tuple(sorted(row.tolist())), place % self.removals_from) for place, row in enumerate(draws)]


def without(mask: np.ndarray, replicate: int = 0) -> Retraining:
    """The fine-tune on what a mask [N] keeps."""
    return Retraining(tuple(np.flatnonzero(~mask).tolist()), replicate)


def make_plan(
    labels: Sequence[Hashable],
    subsets: int = 16,
    replicated: int | None = None,
    removed: int | None = None,
    alone: bool | None = None,
    tune: bool = False,
    seed: int = 0,
    retrainings: int = 1,
    removals_from: int = 1,
) -> Plan:
    """A plan by its counts; those that are None are chosen.

    `replicated`: by default half of the subsets. `removed`: by default half of the smallest class, but no more than a
    quarter of all. `alone`: by default for no more than SMALL examples. Raises ValueError, in a line, for counts that
    can't be had.
    """
    count, smallest = len(labels), min(Counter(labels).values())
    replicated = max(FEWEST, subsets // 2) if replicated is None else replicated
    if subsets < FEWEST:
        raise ValueError(f"subsets: {subsets}; an interval takes {FEWEST} or more")
    if replicated and not FEWEST <= replicated <= subsets:
        raise ValueError(f"replicates: {replicated}, of {subsets} subsets; give 0, or {FEWEST} to {subsets}")
    removed = min(smallest // 2, count // 4) if removed is None else removed
    if removed != 0 and not 0 < removed < smallest:
        raise ValueError(f"remove: {removed}; the smallest class has {smallest} examples, give 0 to {smallest - 1}")
    if (different := count_halves(labels)) < subsets:
        raise ValueError(
            f"subsets: {subsets}, and {count} examples of these classes have {different} halves; give more rows"
        )
    halves = stratified_halves(labels, subsets, seed)
    tuning = stratified_halves(labels, max(FEWEST, subsets // 2) if tune else 0, seed + APART)
    alone = FEWEST <= count <= SMALL if alone is None else alone
    return Plan(tuple(labels), halves, tuning, replicated, removed, alone, retrainings, removals_from)


def fit(plan: Plan, cost: Callable[[Retraining], float], names: Collection[str], budget: float, seed: int = 0) -> Plan:
    """As much of a plan as a budget in seconds allows: first halves and their ceiling, then the removals of methods and
    baselines by their names, then each by itself, and with what remains more halves, up to MOST.

    Raises ValueError where not even the fewest halves fit.
    """
    whole, half = cost(Retraining()), cost(without(plan.halves[0]))
    tune, replicate = len(plan.tuning) > 0, plan.replicated > 0
    of_half = half * (1 + 0.5 * tune + 0.5 * replicate)  # with every other one from another seed, and for the damping
    fewest = FEWEST * half * (1 + tune + replicate)
    remaining = budget - whole
    if remaining < fewest:
        least = (whole + fewest) / 60
        raise ValueError(
            f"minutes: {budget / 60:g}; {FEWEST} halves with what belongs to them take {least:.1f}, give more"
        )
    count = min(len(plan.halves), max(FEWEST, int(remaining / of_half)))
    remaining -= count * of_half
    removals = plan.removals(names) * whole
    removed = plan.removed if removals <= remaining else 0
    remaining -= removals if removed else 0
    alone = plan.alone and len(plan.labels) * whole <= remaining
    remaining -= len(plan.labels) * whole if alone else 0
    count = min(MOST, count + int(max(remaining, 0) / of_half))
    return make_plan(plan.labels, count, None if replicate else 0, removed, alone, tune, seed)
