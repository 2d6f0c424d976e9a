"""Accuracy and coverage of influence scores, and their 95 % intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import bootstrap
from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """A share between 0 and 1, and the ends of its 95 % interval over validation examples."""

    value: float
    low: float
    high: float


def accuracy(scores, train_labels: Sequence[Hashable], val_labels: Sequence[Hashable]) -> Metric:
    """How often the top-ranked training example is of the validation example's class.

    `scores` [M, N], higher = more influential: a tensor, an array or lists. Examples that tie for the top
    count by the share of them that is of the class, the mean over all orders of the tied. The interval is
    Wilson's, over the M validation examples. Raises ValueError for scores that don't fit the labels or are
    not finite, for no examples, and for a validation class without a training example.
    """
    scores, same = _checked(scores, train_labels, val_labels)
    top = scores == scores.max(1, keepdims=True)
    hits = (top & same).sum(1) / top.sum(1)
    return Metric(float(hits.mean()), *wilson(float(hits.sum()), len(hits)))


def coverage(scores, train_labels: Sequence[Hashable], val_labels: Sequence[Hashable]) -> Metric:
    """The share of the validation example's class in its top c, c the class's training count.

    `scores` and errors as for `accuracy`. Where place c falls among tied examples, each of them has an equal
    chance of being in, the mean over all orders of the tied. The interval is a percentile bootstrap over
    validation examples (9,999 resamples, fixed seed); it has no width where all examples agree.
    """
    scores, same = _checked(scores, train_labels, val_labels)
    size = same.sum(1)
    threshold = np.take_along_axis(-np.sort(-scores, axis=1), size[:, None] - 1, axis=1)
    above, tied = scores > threshold, scores == threshold
    admitted = (size - above.sum(1)) / tied.sum(1)
    shares = ((above & same).sum(1) + admitted * (tied & same).sum(1)) / size
    return Metric(float(shares.mean()), *_bootstrap(shares))


def chance(train_labels: Sequence[Hashable], val_labels: Sequence[Hashable]) -> float:
    """What a random ranking scores on average, in accuracy and coverage alike: the class's mean share."""
    return float(_same_class(train_labels, val_labels).mean())


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval for a share; `successes` may be fractional (ties)."""
    z = 1.959963984540054
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _checked(scores, train_labels, val_labels) -> tuple[np.ndarray, np.ndarray]:
    """The scores as a float64 array, and `_same_class`, both [M, N]."""
    same = _same_class(train_labels, val_labels)
    if isinstance(scores, Tensor):
        scores = scores.detach().cpu().double()  # NumPy reads neither GPU memory nor bfloat16
    scores = np.asarray(scores, dtype=float)
    if scores.shape != same.shape:
        raise ValueError(f"scores: shape {scores.shape}; the labels ask for {same.shape}, [val, train]")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores: {(~np.isfinite(scores)).sum()} are not finite; rank only finite scores")
    return scores, same


def _same_class(train_labels, val_labels) -> np.ndarray:
    """Whether each training example is of each validation example's class, [M, N]."""
    for name, labels in (("train_labels", train_labels), ("val_labels", val_labels)):
        if len(labels) == 0:
            raise ValueError(f"{name}: none; at least one example is needed")
    absent = sorted(map(str, set(val_labels) - set(train_labels)))
    if absent:
        raise ValueError(f"val_labels: {absent[0]!r} has no training example; every class needs one")
    return np.array([[train == val for train in train_labels] for val in val_labels])


def _bootstrap(values: np.ndarray) -> tuple[float, float]:
    if np.ptp(values) == 0:  # every resample is the sample
        return float(values[0]), float(values[0])
    ordered = np.sort(values)  # so that the fixed seed gives one interval, whatever the order of the examples
    found = bootstrap((ordered,), np.mean, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
