"""Leave-one-out retraining: how far the exact influence is from the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats
from torch import Tensor

from ifcore import linear
from study.chapters.approximation_error.errors import LISSA, Case, approximations, kept
from study.config import Run
from study.correlation import pearson, slope, spearman
from study.datasets import digits
from study.report.names import COLUMNS

DAMPINGS = (0.01, 0.1, 1.0, 10.0, 100.0)  # times the weight decay
DECAYS = (1.0, 0.1, 0.01)  # times the profile's
STEPS = (3, 10, 30, 100, 300)  # of gradient descent


def left_out(run: Run) -> pd.DataFrame:
    """Leave-one-out retraining of the softmax regression without every training point, and what was predicted.

    A row for each (condition, training point, method): `predicted` and `actual` change of the mean test loss. The
    conditions: `converged` at each weight decay, with the damping that belongs to it or a multiple of it, and stopped
    after some `steps` of gradient descent (0: at the minimum), where the truth is descent without the point for as
    long. Methods other than the exact one are scored under the first condition and the stopped ones.
    """
    sizes = run.profile.linear

    def build() -> pd.DataFrame:
        train, test = digits.draw(run.digits, sizes.left_out, sizes.left_out, None, run.seed)
        found = []
        for factor in DECAYS:
            decay = factor * sizes.decay
            case = Case(train, test, linear.fit(train, digits.CLASSES, decay), decay)
            without = linear.leave_one_out(train, digits.CLASSES, decay, progress=f"retraining, decay {decay:g}")
            actual = _change(case, without)
            dampings = DAMPINGS if factor == 1.0 else (1.0,)
            for damping in dampings:
                exact = linear.exact_influence(case.weights, train, test, damping * decay)
                found.append(_predicted("exact", exact, actual, decay, damping, 0))
            if factor == 1.0:
                for method, count, scores in approximations(case):
                    if method != "lissa" or count == LISSA[-1]:
                        found.append(_predicted(method, scores, actual, decay, 1.0, 0))
        descent = linear.descend(train, digits.CLASSES, sizes.decay, STEPS, "retraining, stopped early")
        for steps, (weights, without) in zip(STEPS, descent, strict=True):
            case = Case(train, test, weights, sizes.decay)
            actual = _change(case, without)
            found.append(_predicted("exact", case.exact, actual, sizes.decay, 1.0, steps))
            found += [
                _predicted(method, scores, actual, sizes.decay, 1.0, steps)
                for method, count, scores in approximations(case)
                if method != "lissa" or count == LISSA[-1]
            ]
        table = pd.concat(found, ignore_index=True)
        table.insert(0, "dataset", digits.name(run.profile.digits_source))
        return table

    return kept(run, "left-out", {"linear": sizes.model_dump(include={"decay", "left_out"})}, build)


def agreement(points: pd.DataFrame) -> pd.DataFrame:
    """How well the predictions of `left_out` agree with retraining, condition by condition.

    Metrics `pearson` and `spearman` correlation over training points, and `slope`, of actual on predicted by least
    squares, each with a 95 % percentile bootstrap interval over training points.
    """
    rows = []
    keys = ["dataset", "method", "decay", "damping", "steps"]
    for (dataset, method, decay, damping, steps), part in points.groupby(keys, sort=False):
        pair = part.predicted.to_numpy(), part.actual.to_numpy()
        for metric, statistic in _AGREEMENT.items():
            rng = np.random.default_rng(0)
            options = {"paired": True, "method": "percentile", "n_resamples": 1_000, "vectorized": True}
            low, high = stats.bootstrap(pair, statistic, rng=rng, **options).confidence_interval
            about = (len(part), len(part), "softmax", decay, damping, steps)
            rows.append((dataset, method, metric, float(statistic(*pair)), low, high, *about))
    return pd.DataFrame(rows, columns=[*COLUMNS, "model", "decay", "damping", "steps"])


_AGREEMENT = {"pearson": pearson, "spearman": spearman, "slope": slope}


def _change(case: Case, without: Tensor) -> Tensor:
    """Of the mean test loss, [N], from the case's weights to those [N, C, D] of each retraining."""
    return (linear.losses(without, case.test) - linear.losses(case.weights, case.test)).mean(1)


def _predicted(method: str, scores: Tensor, actual: Tensor, decay: float, damping: float, steps: int) -> pd.DataFrame:
    table = {"predicted": (scores.mean(0) / scores.shape[1]).numpy(), "actual": actual.numpy()}
    about = {"method": method, "decay": decay, "damping": damping, "steps": steps, "point": range(len(actual))}
    return pd.DataFrame(about | table)
