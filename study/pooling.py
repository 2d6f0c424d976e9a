"""One estimate out of several seeds': how far they lie apart, how sure the mean is, and where a further seed's falls.

A seed draws the data, the initial adapter, the order and dropout, so that its estimate differs from another's by more
than its own interval says. The variance between seeds is estimated by restricted maximum likelihood; the standard error
is Knapp and Hartung's, never below the usual one (Röver, Knapp and Friede, 2015, doi:10.1186/s12874-015-0091-1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import minimize_scalar

from study.statistics import NAN


@dataclass(frozen=True)
class Pooled:
    """The mean of estimates from several seeds, and its standard error.

    `between`: the variance between seeds. `within`: the mean of their own, which a further seed's estimate has as well.
    """

    mean: float
    error: float
    between: float
    within: float
    seeds: int

    def p_value(self, threshold: float, above: bool) -> float:
        """One-sided, that the truth is not above (or below) the threshold; 1 for one seed, which tells nothing. Of
        estimates that don't differ at all: 0 or 1, by the side that they are on."""
        tail = stats.t.sf if above else stats.t.cdf
        if self.seeds < 2:
            return 1.0
        if self.error == 0:
            return float(not (self.mean > threshold if above else self.mean < threshold))
        return float(tail((self.mean - threshold) / self.error, self.seeds - 1))

    def interval(self, level: float) -> tuple[float, float]:
        """The interval that misses the truth in a share `level` of cases; for one seed, that seed's own."""
        half = self._quantile(level) * self.error
        return float(self.mean - half), float(self.mean + half)

    def prediction(self, level: float) -> tuple[float, float]:
        """The interval that misses a further seed's estimate in a share `level` of cases; NaN for one seed.

        Student's for how seeds differ and where their mean is, which is estimated (Higgins, Thompson and Spiegelhalter,
        2009), and the normal one for the estimate's own error, which is known.
        """
        if self.seeds < 2:
            return NAN, NAN
        estimated, known = self._quantile(level) ** 2 * (self.between + self.error**2), stats.norm.isf(level / 2) ** 2
        half = (estimated + known * self.within) ** 0.5
        return float(self.mean - half), float(self.mean + half)

    def _quantile(self, level: float) -> float:
        return float(stats.norm.isf(level / 2) if self.seeds < 2 else stats.t.isf(level / 2, self.seeds - 1))


def pool(values: ArrayLike, lows: ArrayLike, highs: ArrayLike) -> Pooled:
    """Pool estimates [seeds], each with its 95 % interval.

    Of an interval that is longer on one side, that side counts. Where an estimate has no interval, or one without
    width, all count alike: the mean, and Student's error of it.
    """
    values, lows, highs = (np.asarray(numbers, dtype=float) for numbers in (values, lows, highs))
    within = (half_width(values, lows, highs) / stats.norm.ppf(0.975)) ** 2
    if not (within > 0).all():
        within = np.zeros(len(values))
    if len(values) == 1:
        return Pooled(float(values[0]), float(within[0] ** 0.5) or NAN, NAN, float(within[0]), 1)
    between = variance_between(values, within)
    if not between > 0 and not within.any():  # equal but for rounding
        return Pooled(float(values.mean()), 0.0, 0.0, 0.0, len(values))
    w = 1 / (within + between)
    mean = float(w @ values / w.sum())
    q = float(w @ (values - mean) ** 2) / (len(values) - 1)
    return Pooled(mean, float((max(1.0, q) / w.sum()) ** 0.5), between, float(within.mean()), len(values))


def variance_between(values: np.ndarray, within: np.ndarray) -> float:
    """The variance between seeds by restricted maximum likelihood, of estimates [seeds] with their own variances."""
    spread = float(values.var(ddof=1))
    if spread < 1e-24:
        return 0.0
    if not within.any():
        return spread

    def loss(between: float) -> float:
        w = 1 / (within + between)
        centred = values - w @ values / w.sum()
        return float(w @ centred**2 - np.log(w).sum() + np.log(w.sum()))

    most = float(np.ptp(values) ** 2)  # beyond it the likelihood falls
    fitted = float(minimize_scalar(loss, bounds=(0, most), method="bounded", options={"xatol": 1e-9 * most}).x)
    return fitted if loss(fitted) < loss(0.0) else 0.0


def half_width(values: np.ndarray, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
    """How far the farther end of an interval is: at 100 % the upper end of Wilson's is no sign of certainty."""
    return np.maximum(values - lows, highs - values)
