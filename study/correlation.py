"""Correlations, slopes, and Mantel's test of distances between models."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from scipy import stats

NAN = float("nan")


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
