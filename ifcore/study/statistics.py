"""95 % intervals of means, of slopes, and of estimates from several seeds; correlations."""

from __future__ import annotations

import numpy as np
from scipy import stats

NAN = float("nan")


def interval_of_mean(values) -> tuple[float, float]:
    """Student's t-interval of the mean of independent values [n]; NaN for fewer than two."""
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return NAN, NAN
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def interval_of_slope(x, y, groups=None) -> tuple[float, float, float]:
    """The least-squares slope of y on x [n] and its t-interval; NaN where there are too few points to have one.

    With `groups` [n], each has an intercept of its own: how they differ in level is no part of the slope's spread.
    """
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    _, group = np.unique(np.zeros(len(x)) if groups is None else np.asarray(groups), return_inverse=True)
    size = np.bincount(group)
    tiny = 1e-12 * np.abs(y).max()
    x, y = (each - (np.bincount(group, each) / size)[group] for each in (x, y))
    y[np.abs(y) <= tiny] = 0  # what rounding leaves of a constant is no trend
    if not (spread := x @ x):
        return (NAN,) * 3
    slope = x @ y / spread
    freedom = len(x) - len(size) - 1
    if freedom < 1:
        return slope, NAN, NAN
    residuals = y - slope * x
    half = stats.t.ppf(0.975, freedom) * (residuals @ residuals / freedom / spread) ** 0.5
    return slope, slope - half, slope + half


def mean_over_seeds(values, lows, highs) -> tuple[float, float, float]:
    """The mean of estimates [seeds] of one thing, each from its own draws with its own interval, and its interval."""
    half = (np.asarray(highs) - np.asarray(lows)) / 2
    mean, pooled = float(np.mean(values)), float((half @ half) ** 0.5 / len(half))
    return mean, mean - pooled, mean + pooled


def paired(one, other) -> tuple[float, float, float]:
    """The mean of one minus other [n], pair by pair, and its t-interval.

    Its ends are NaN for fewer than six pairs: however they fall out, no sign test of five decides at 5 %. Where all
    pairs differ alike there is no spread to estimate, and the interval has no width.
    """
    difference = np.asarray(one, dtype=float) - np.asarray(other, dtype=float)
    low, high = interval_of_mean(difference) if len(difference) >= 6 else (NAN, NAN)
    return float(difference.mean()), low, high


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
