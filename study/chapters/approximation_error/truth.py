"""Leave-one-out retraining: how far the exact influence is from the truth."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats
from torch import Tensor

from ifcore import linear
from ifcore.linear import Points
from study.chapters.approximation_error.errors import LISSA, Case, approximations, cached_linear
from study.config import Run
from study.datasets import digits
from study.schema import COLUMNS
from study.statistics import pearson, slope, spearman

DAMPINGS = (0.01, 0.1, 1.0, 10.0, 100.0)  # times the weight decay
DECAYS = (1.0, 0.1, 0.01)  # times the profile's
STEPS = (3, 10, 30, 100, 300)  # of gradient descent


def left_out(run: Run) -> pd.DataFrame:
    """Leave-one-out retraining of the softmax regression: `predicted` and `actual` change of the mean test loss.

    A row for each (condition, training point, method). Conditions: at the minimum (`steps` 0) for each weight `decay`,
    with the `damping` that belongs to it or a multiple; or stopped after some steps of gradient descent, with and
    without the point. Methods other than the exact one are scored under the first condition and the stopped ones.
    """
    sizes = run.profile.linear

    def build() -> pd.DataFrame:
        train, test = digits.draw(run.digits, sizes.left_out, sizes.left_out, None, run.seed)
        frames = [*_at_minimum(train, test, sizes.decay), *_stopped(train, test, sizes.decay)]
        table = pd.concat(frames, ignore_index=True)
        table.insert(0, "dataset", digits.name(run.profile.digits_source))
        return table

    return cached_linear(run, "left-out", {"linear": sizes.model_dump(include={"decay", "left_out"})}, build)


def agreement(points: pd.DataFrame) -> pd.DataFrame:
    """How well the predictions of `left_out` agree with retraining, condition by condition: correlations and the
    least-squares slope of actual on predicted, with 95 % percentile bootstrap intervals over training points."""
    rows = []
    keys = ["dataset", "method", "decay", "damping", "steps"]
    for (dataset, method, decay, damping, steps), part in points.groupby(keys, sort=False):
        pair = part.predicted.to_numpy(), part.actual.to_numpy()
        for metric, statistic in _AGREEMENT.items():
            rng = np.random.default_rng(0)
            options = {"paired": True, "method": "percentile", "n_resamples": 1_000, "vectorized": True}
            low, high = stats.bootstrap(pair, statistic, rng=rng, **options).confidence_interval
            condition = (len(part), len(part), "softmax", decay, damping, steps)
            rows.append((dataset, method, metric, float(statistic(*pair)), low, high, *condition))
    return pd.DataFrame(rows, columns=[*COLUMNS, "model", "decay", "damping", "steps"])


_AGREEMENT = {"pearson": pearson, "spearman": spearman, "slope": slope}


def _at_minimum(train: Points, test: Points, profile_decay: float) -> Iterator[pd.DataFrame]:
    for factor in DECAYS:
        decay = factor * profile_decay
        case = Case(train, test, linear.fit(train, digits.CLASSES, decay), decay)
        without = linear.leave_one_out(train, digits.CLASSES, decay, progress=f"retraining, decay {decay:g}")
        actual = _change(case, without)
        for damping in DAMPINGS if factor == 1.0 else (1.0,):
            exact = linear.exact_influence(case.weights, train, test, damping * decay)
            yield _predicted("exact", exact, actual, decay, damping, 0)
        if factor == 1.0:
            yield from _approximated(case, actual, 0)


def _stopped(train: Points, test: Points, decay: float) -> Iterator[pd.DataFrame]:
    descent = linear.descend(train, digits.CLASSES, decay, STEPS, "retraining, stopped early")
    for steps, (weights, without) in zip(STEPS, descent, strict=True):
        case = Case(train, test, weights, decay)
        actual = _change(case, without)
        yield _predicted("exact", case.exact, actual, decay, 1.0, steps)
        yield from _approximated(case, actual, steps)


def _approximated(case: Case, actual: Tensor, steps: int) -> Iterator[pd.DataFrame]:
    for method, count, compute in approximations(case):
        if method != "lissa" or count == LISSA[-1]:
            yield _predicted(method, compute(), actual, case.decay, 1.0, steps)


def _change(case: Case, without: Tensor) -> Tensor:
    """Of the mean test loss, [N], from the case's weights to those [N, C, D] of each retraining."""
    return (linear.losses(without, case.test) - linear.losses(case.weights, case.test)).mean(1)


def _predicted(method: str, scores: Tensor, actual: Tensor, decay: float, damping: float, steps: int) -> pd.DataFrame:
    table = {"predicted": (scores.mean(0) / scores.shape[1]).numpy(), "actual": actual.numpy()}
    condition = {"method": method, "decay": decay, "damping": damping, "steps": steps, "point": range(len(actual))}
    return pd.DataFrame(condition | table)
