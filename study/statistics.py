"""95 % intervals of means and paired changes; tests of a change; correlations."""

from collections.abc import Callable, Hashable, Sequence
from itertools import permutations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from ifcore import intervals, metrics

NAN = float("nan")
Estimate = tuple[float, float, float]  # a value and the ends of its interval
Labels = Sequence[Hashable]
Metric = Callable[..., intervals.Share]


def interval_of_mean(values: ArrayLike) -> tuple[float, float]:
    """Student's t-interval of the mean of independent values [n]; NaN for fewer than two."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return NAN, NAN
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def change(
    metric: Metric, before: np.ndarray, after: np.ndarray, train: Labels, val: Labels, clusters: Labels | None = None
) -> Estimate:
    """By how much a metric is higher for the scores `after` than `before`, [M, N], with a paired interval.

    `metric` is `metrics.accuracy` or `metrics.coverage`; `train` [N] and `val` [M] are labels; examples of one of the
    `clusters` [M] may depend on each other.
    """
    differences = [
        metric(new[None], train, [label]).value - metric(old[None], train, [label]).value
        for old, new, label in zip(before, after, val, strict=True)
    ]
    if metric is metrics.accuracy:
        return float(np.mean(differences)), *interval_of_change(differences, clusters)
    return mean_change(differences, clusters)


def mean_change(differences: ArrayLike, clusters: Labels | None = None) -> Estimate:
    """The mean of paired differences [n] and its interval, by the spread of the clusters' sums.

    Student's t has as many degrees of freedom as clusters changed. Where none did, the ends are as far from 0 as those
    of Wilson's interval of a share of 0 in as many trials. NaN for fewer than two clusters. Simulated coverage: 93 to
    97 % from 10 clusters on, more where few change.
    """
    differences = np.asarray(differences, dtype=float)
    sums, sizes = intervals.cluster_sums(differences, clusters)
    mean, count = float(differences.mean()), len(sums)
    if count < 2:
        return mean, NAN, NAN
    error = np.sqrt(count / (count - 1) * ((sums - mean * sizes) ** 2).sum()) / sizes.sum()
    changed = int((np.abs(sums) > 1e-12).sum())
    half = stats.t.ppf(0.975, max(1, min(changed, count - 1))) * error
    if error < 1e-12:
        half = intervals.wilson(0, count)[1]
    return mean, float(mean - half), float(mean + half)


def interval_of_change(differences: ArrayLike, clusters: Labels | None = None) -> tuple[float, float]:
    """Agresti and Min's interval of the change of a share, from differences [n] of paired hits (1) and misses (0).

    It adds two pairs that share one hit gained and one lost: a few pairs without a change don't exclude one. Where
    pairs of one of the `clusters` [n] may depend on each other, it adds two of the mean size. NaN for fewer than two.
    """
    differences = np.asarray(differences, dtype=float)
    sums, sizes = intervals.cluster_sums(differences, clusters)
    if len(sums) < 2:
        return NAN, NAN
    size = sizes.mean()
    total = sizes.sum() + 2 * size
    mean = sums.sum() / total
    spread = ((sums - mean * sizes) ** 2).sum() + size**2 * (2 * mean**2 + 1)
    half = stats.norm.ppf(0.975) * spread**0.5 / total
    return max(-1.0, float(mean - half)), min(1.0, float(mean + half))


def pooled(rows: pd.DataFrame, least: float = -1.0, most: float = 1.0) -> Estimate:
    """The mean of tidy rows, one a seed, and its interval; NaN without rows.

    One seed has its own interval, several have Student's over seeds, which ends at what is possible: `least`, `most`.
    """
    if rows.empty:
        return NAN, NAN, NAN
    if len(rows) == 1:
        return float(rows.value.iloc[0]), float(rows.ci_low.iloc[0]), float(rows.ci_high.iloc[0])
    low, high = interval_of_mean(rows.value)
    return float(np.mean(rows.value)), max(least, low), min(most, high)


def mean_over_seeds(values: pd.Series, lows: pd.Series, highs: pd.Series) -> Estimate:
    """The mean of estimates [seeds] of one quantity, each from its own draws with its own interval; its interval."""
    half = (np.asarray(highs) - np.asarray(lows)) / 2
    mean, error = float(np.mean(values)), float((half @ half) ** 0.5 / len(half))
    return mean, mean - error, mean + error


def mcnemar(before: ArrayLike, after: ArrayLike) -> float:
    """The two-sided p-value of McNemar's exact test that as many of the pairs [n] turn to true as turn to false."""
    before, after = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def pearson(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    """Pearson's correlation along an axis."""
    x, y = (values - values.mean(axis, keepdims=True) for values in (predicted, actual))
    return (x * y).sum(axis) / np.sqrt((x * x).sum(axis) * (y * y).sum(axis))


def spearman(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    """Spearman's rank correlation along an axis."""
    return pearson(stats.rankdata(predicted, axis=axis), stats.rankdata(actual, axis=axis), axis)


def slope(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    """The least-squares slope of actual on predicted along an axis."""
    x, y = (values - values.mean(axis, keepdims=True) for values in (predicted, actual))
    return (x * y).sum(axis) / (x * x).sum(axis)


def mantel(a: ArrayLike, b: ArrayLike) -> tuple[float, float, float]:
    """Mantel's test: Spearman's correlation of two distances [n, n] over the pairs of the same n models, and its p.

    Models are exchangeable, pairs that share models are not. So p is the share of all n! relabellings of b's models
    (the identity among them) that correlate with a at least as well: exact, one-sided, never below 1/n!. The third
    number is the smallest p that any labelling could give, above 1/n! where models are interchangeable. All are NaN
    where a or b is the same for all pairs. Raises ValueError for matrices that are not symmetric or not of one size.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if a.ndim != 2 or a.shape != b.shape or not (np.array_equal(a, a.T) and np.array_equal(b, b.T)):
        raise ValueError(f"distances: shapes {a.shape} and {b.shape}; two symmetric matrices of one size are needed")
    pairs = np.triu_indices(len(a), 1)
    orders = [np.array(order) for order in permutations(range(len(b)))]
    relabelled = np.array([b[np.ix_(order, order)][pairs] for order in orders])
    if not (np.ptp(a[pairs]) and np.ptp(relabelled[0])):
        return NAN, NAN, NAN
    correlations = spearman(np.broadcast_to(a[pairs], relabelled.shape), relabelled)
    r = float(correlations[0])
    p, smallest = (float(np.mean(correlations >= bar - 1e-9)) for bar in (r, correlations.max()))  # less is rounding
    return r, p, smallest
