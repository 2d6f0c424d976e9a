"""95 % intervals of means, of changes, and of estimates from several seeds; correlations; a test over models."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import permutations

import numpy as np
from scipy import stats

from ifcore import metrics

NAN = float("nan")


def interval_of_mean(values) -> tuple[float, float]:
    """Student's t-interval of the mean of independent values [n]; NaN for fewer than two."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return NAN, NAN
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def change(
    metric: Callable[..., metrics.Metric], before, after, train: Sequence[Hashable], val: Sequence[Hashable]
) -> tuple[float, float, float]:
    """By how much a metric is higher for the scores `after` than `before`, [M, N] of the same examples; its interval.

    `metric` is `metrics.accuracy` or `metrics.coverage`; `train` [N] and `val` [M] are labels. Both scores are of the
    same validation examples, so the interval is that of the difference example by example.
    """
    differences = [
        metric(new[None], train, [label]).value - metric(old[None], train, [label]).value
        for old, new, label in zip(before, after, val, strict=True)
    ]
    ends = interval_of_change if metric is metrics.accuracy else interval_of_mean
    return float(np.mean(differences)), *ends(differences)


def interval_of_change(differences) -> tuple[float, float]:
    """Agresti and Min's interval of the change of a share, from differences [n] of paired hits (1) and misses (0).

    One hit gained and one lost are shared out over two more pairs, so that no change at all in a few pairs
    leaves room for one. NaN for fewer than two pairs.
    """
    differences, size = np.asarray(differences, dtype=float), len(differences) + 2
    if size < 4:
        return NAN, NAN
    mean = differences.sum() / size
    half = stats.norm.ppf(0.975) * (((differences @ differences + 1) / size - mean**2) / size) ** 0.5
    return max(-1.0, float(mean - half)), min(1.0, float(mean + half))


def over_seeds(values, lows, highs) -> tuple[float, float, float]:
    """A share, a correlation, or a difference of shares [seeds], with an interval: of one seed its own, of several the
    mean and its t-interval over seeds, no further than −1 and 1 where such a number must lie."""
    if len(values) == 1:
        return tuple(float(np.asarray(each)[0]) for each in (values, lows, highs))
    low, high = interval_of_mean(values)
    return float(np.mean(values)), max(-1.0, low), min(1.0, high)


def mean_over_seeds(values, lows, highs) -> tuple[float, float, float]:
    """The mean of estimates [seeds] of one thing, each from its own draws with its own interval, and its interval."""
    half = (np.asarray(highs) - np.asarray(lows)) / 2
    mean, pooled = float(np.mean(values)), float((half @ half) ** 0.5 / len(half))
    return mean, mean - pooled, mean + pooled


def mcnemar(before, after) -> float:
    """The two-sided p-value of McNemar's exact test that as many of the pairs [n] turn to true as turn to false."""
    before, after = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def pearson(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    """Pearson's correlation along an axis."""
    x, y = (each - each.mean(axis, keepdims=True) for each in (predicted, actual))
    return (x * y).sum(axis) / np.sqrt((x * x).sum(axis) * (y * y).sum(axis))


def spearman(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    """Spearman's rank correlation along an axis."""
    return pearson(stats.rankdata(predicted, axis=axis), stats.rankdata(actual, axis=axis), axis)


def slope(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    """The least-squares slope of actual on predicted along an axis."""
    x, y = (each - each.mean(axis, keepdims=True) for each in (predicted, actual))
    return (x * y).sum(axis) / (x * x).sum(axis)


def mantel(a, b) -> tuple[float, float]:
    """Mantel's test: do two distances between the same n models go together? Spearman's correlation over pairs, and p.

    `a`, `b` [n, n] are symmetric. Pairs share models and are not exchangeable; models are. So p is the share of all n!
    relabellings of b's models that correlate with a at least as well, the identity among them: exact, and never below
    1/n!. One-sided, because a distance that follows another can only grow with it. Both are NaN where a or b is the
    same for all pairs. Raises ValueError for matrices that are not symmetric or not of one size.
    """
    found = _relabelled(a, b)
    return float(found[0]), float(np.mean(found >= found[0] - _TIE)) if np.isfinite(found[0]) else NAN


def smallest_p(a, b) -> float:
    """The smallest p that `mantel` could give for these distances, however the models of b were labelled.

    Above 1/n! where relabellings leave a distance's ranks as they are: models that are interchangeable.
    """
    found = _relabelled(a, b)
    return float(np.mean(found >= found.max() - _TIE)) if np.isfinite(found[0]) else NAN


_TIE = 1e-9  # correlations nearer than rounding are equal


def _relabelled(a, b) -> np.ndarray:
    """Spearman's correlation of a's pairs with b's for every order of b's models, [n!], the order given first."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim != 2 or a.shape != b.shape or not (np.array_equal(a, a.T) and np.array_equal(b, b.T)):
        raise ValueError(f"distances: shapes {a.shape} and {b.shape}; two symmetric matrices of one size are needed")
    pairs = np.triu_indices(len(a), 1)
    orders = [np.array(order) for order in permutations(range(len(b)))]
    said = np.array([b[np.ix_(order, order)][pairs] for order in orders])
    if not (np.ptp(a[pairs]) and np.ptp(said[0])):
        return np.full(len(orders), NAN)
    return spearman(np.broadcast_to(a[pairs], said.shape), said)
