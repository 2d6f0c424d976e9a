"""Accuracy and coverage of influence scores, and their 95 % intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap


@dataclass(frozen=True)
class Metric:
    """A share between 0 and 1, and the ends of its 95 % interval over validation examples."""

    value: float
    low: float
    high: float


def accuracy(scores, train_labels: Sequence[Hashable], val_labels: Sequence[Hashable]) -> Metric:
    """How often the top-ranked training example is of the validation example's class.

    `scores` [M, N], higher = more influential. Examples that tie for the top count by the share of them that is of
    the class: what a random choice among them would give. Wilson's interval.
    """
    scores, same = _checked(scores, train_labels, val_labels)
    top = scores == scores.max(1, keepdims=True)
    hits = (top & same).sum(1) / top.sum(1)
    return Metric(float(hits.mean()), *wilson(float(hits.sum()), len(hits)))


def coverage(scores, train_labels: Sequence[Hashable], val_labels: Sequence[Hashable]) -> Metric:
    """The share of the validation example's class among its top c training examples, c being the class's size.

    `scores` [M, N], higher = more influential. Where place c falls among tied examples, each of them has an equal
    chance of being in. Percentile bootstrap over validation examples (9,999 resamples, fixed seed).
    """
    scores, same = _checked(scores, train_labels, val_labels)
    size = same.sum(1)
    threshold = np.take_along_axis(-np.sort(-scores, axis=1), size[:, None] - 1, axis=1)
    above, tied = scores > threshold, scores == threshold
    chance = (size - above.sum(1)) / tied.sum(1)
    shares = ((above & same).sum(1) + chance * (tied & same).sum(1)) / size
    return Metric(float(shares.mean()), *_bootstrap(shares))


def chance(train_labels: Sequence[Hashable], val_labels: Sequence[Hashable]) -> float:
    """What a random ranking scores on average, in accuracy and in coverage alike: the mean share of the class."""
    _, same = _checked(np.zeros((len(val_labels), len(train_labels))), train_labels, val_labels)
    return float(same.mean())


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share; `successes` may be fractional (ties)."""
    z = 1.959963984540054
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _checked(scores, train_labels, val_labels) -> tuple[np.ndarray, np.ndarray]:
    """The scores as an array, and whether each training example is of each validation example's class, both [M, N]."""
    scores = np.asarray(scores, dtype=float)
    expected = (len(val_labels), len(train_labels))
    if scores.shape != expected or 0 in expected:
        raise ValueError(f"scores: shape {scores.shape}; {expected} labels ask for [val, train], neither empty")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores: {int((~np.isfinite(scores)).sum())} are not finite; rank only finite scores")
    absent = sorted(map(str, set(val_labels) - set(train_labels)))
    if absent:
        raise ValueError(f"val_labels: {absent[0]!r} has no training example; every class needs one to be found")
    same = [[train == val for train in train_labels] for val in val_labels]
    return scores, np.array(same)


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    if np.ptp(values) == 0:  # every resample is the sample
        return float(values[0]), float(values[0])
    found = bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
