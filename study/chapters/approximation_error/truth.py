"""Leave-one-out retraining: how far the exact influence is from the truth."""

from collections.abc import Iterator
from itertools import chain, starmap

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
        retrained = _retrain(train, test, sizes.decay)
        table = pd.concat(chain.from_iterable(starmap(_predict, retrained)), ignore_index=True)
        table.insert(0, "dataset", digits.name(run.profile.digits_source))
        return table

    return cached_linear(run, "left-out", {"linear": sizes.model_dump(include={"decay", "left_out"})}, build)


def agreement(points: pd.DataFrame) -> pd.DataFrame:
    """How well the predictions of `left_out` agree with retraining, condition by condition: correlations and the
    least-squares slope of actual on predicted, with 95 % percentile bootstrap intervals over training points."""
    rows = []
    for (dataset, method, *condition), part in points.groupby(["dataset", "method", *_CONDITION], sort=False):
        pair = part.predicted.to_numpy(), part.actual.to_numpy()
        for metric, statistic in _AGREEMENT.items():
            rng = np.random.default_rng(0)
            options = {"paired": True, "method": "percentile", "n_resamples": 1_000, "vectorized": True}
            low, high = stats.bootstrap(pair, statistic, rng=rng, **options).confidence_interval
            sizes = len(part), len(part)
            rows.append((dataset, method, metric, float(statistic(*pair)), low, high, *sizes, "softmax", *condition))
    return pd.DataFrame(rows, columns=[*COLUMNS, "model", *_CONDITION])


_CONDITION = ["decay", "damping", "steps"]
_AGREEMENT = {"pearson": pearson, "spearman": spearman, "slope": slope}


def _retrain(train: Points, test: Points, decay: float) -> Iterator[tuple[Case, Tensor, int, bool]]:
    """The model of each condition, the weights [N, C, D] of its retrainings without a point, the steps of gradient
    descent, and whether it has the profile's weight decay."""
    for factor in DECAYS:
        case = Case(train, test, linear.fit(train, digits.CLASSES, factor * decay), factor * decay)
        progress = f"retraining, decay {case.decay:g}"
        yield case, linear.leave_one_out(train, digits.CLASSES, case.decay, progress=progress), 0, factor == 1.0
    descent = linear.descend(train, digits.CLASSES, decay, STEPS, "retraining, stopped early")
    for steps, (weights, without) in zip(STEPS, descent, strict=True):
        yield Case(train, test, weights, decay), without, steps, True


def _predict(case: Case, without: Tensor, steps: int, usual_decay: bool) -> Iterator[pd.DataFrame]:
    """The change of the mean test loss by each retraining, and what each method predicts."""
    actual = (linear.losses(without, case.test) - linear.losses(case.weights, case.test)).mean(1)

    def table(method: str, scores: Tensor, damping: float = 1.0) -> pd.DataFrame:
        condition = {"method": method, "decay": case.decay, "damping": damping, "steps": steps}
        predicted = (scores.mean(0) / scores.shape[1]).numpy()
        return pd.DataFrame(condition | {"point": range(len(actual)), "predicted": predicted, "actual": actual.numpy()})

    for damping in DAMPINGS if usual_decay and steps == 0 else (1.0,):
        exact = linear.exact_influence(case.weights, case.train, case.test, damping * case.decay)
        yield table("exact", exact, damping)
    for method, count, compute in approximations(case) if usual_decay else ():
        if method != "lissa" or count == LISSA[-1]:
            yield table(method, compute())
