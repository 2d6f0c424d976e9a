"""Section 4.1: how far the approximations of influence are from the exact one, and that from the truth.

Every function gives a tidy frame, computed once and kept under artifacts/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor
from tqdm import tqdm

from ifcore import influence, linear, metrics
from ifcore.gram import Gram
from ifcore.linear import Points
from ifcore.study import artifact, intervals, recursion
from ifcore.study.artifact import Attribution
from ifcore.study.config import Run
from ifcore.study.data import digits
from ifcore.study.stages import code, frame

LISSA = (1, 5, 10)  # the paper's numbers of iterations
SETTINGS = ((10, 10_000), (10, 100_000), (20, 100_000))  # the paper's numbers of points and parameters, Table 5
ITERATIONS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
DAMPINGS = (0.01, 0.1, 1.0, 10.0, 100.0)  # times the weight decay
DECAYS = (1.0, 0.1, 0.01)  # times the profile's
STEPS = (3, 10, 30, 100, 300)  # of gradient descent
_SIZE = ["over", "points", "parameters", "method", "iterations", "metric"]
COLUMNS = ["dataset", "method", "metric", "value", "ci_low", "ci_high", "n_train", "n_val"]


@dataclass(frozen=True)
class _Case:
    """A softmax regression at its minimum, the points it was fitted to, and others."""

    train: Points
    test: Points
    weights: Tensor
    decay: float

    def compute_exact(self) -> Tensor:
        return linear.exact_influence(self.weights, self.train, self.test, self.decay)

    @cached_property
    def exact(self) -> Tensor:
        return self.compute_exact()


def errors(run: Run) -> pd.DataFrame:
    """Each method's distance from the exact influence, over points and over parameters: a row a draw of digits.

    `error`: the mean over validation points of the L2 norm, over training points, of the difference of the scores;
    `relative_error`: the Frobenius norm of the difference by that of the exact scores; `direction_error`: the same
    after the best rescaling of the method's scores, √(1 − cos²), which a wrong scale leaves alone.
    """
    sizes = run.profile.linear
    middle = sorted(sizes.parameters)[len(sizes.parameters) // 2]
    wanted = [("points", n, middle) for n in sizes.points]
    wanted += [("parameters", sizes.points[0], parameters) for parameters in sizes.parameters]

    def build() -> pd.DataFrame:
        rows = []
        for over, points, parameters in tqdm(wanted, desc="approximation errors", unit="size"):
            for draw in range(sizes.draws):
                case = _case(run, points, parameters, draw)
                for method, count, scores in _approximations(case):
                    for metric, value in _distance(scores, case.exact).items():
                        rows.append((over, points, parameters, method, count, metric, draw, value))
        return pd.DataFrame(rows, columns=[*_SIZE, "draw", "value"])

    return _kept(run, "errors", {"linear": sizes.model_dump(exclude={"dense_limit", "left_out"})}, build)


def error_means(run: Run, drawn: pd.DataFrame) -> pd.DataFrame:
    """Figure 3: `errors` averaged over draws, with 95 % t-intervals; tidy."""
    rows = []
    for (over, points, parameters, method, count, metric), part in drawn.groupby(_SIZE, sort=False):
        low, high = intervals.of_mean(part.value)
        name = digits.name(run.profile.digits_source)
        about = (points, points, "softmax", over, points, parameters, count)
        rows.append((name, method, metric, part.value.mean(), low, high, *about))
    return pd.DataFrame(rows, columns=[*COLUMNS, "model", "over", "points", "parameters", "iterations"])


def growth(drawn: pd.DataFrame) -> pd.DataFrame:
    """How the distances of `errors` grow: the exponent of the size, the slope of log(value) on log(size) draw by draw.

    The mean over draws and its 95 % t-interval; 1 is as fast as the size, 0 not at all.
    """
    rows = []
    for (over, method, count, metric), part in drawn.groupby(["over", "method", "iterations", "metric"], sort=False):
        slopes = [np.polyfit(np.log(each[over]), np.log(each.value), 1)[0] for _, each in part.groupby("draw")]
        slopes = pd.Series(slopes)
        rows.append((over, method, count, metric, slopes.mean(), *intervals.of_mean(slopes)))
    return pd.DataFrame(rows, columns=["over", "method", "iterations", "metric", "value", "ci_low", "ci_high"])


def runtimes(run: Run) -> pd.DataFrame:
    """Table 5: seconds from fitted weights to scores, and the distance from the exact scores, in the paper's settings.

    Metrics as in `errors`, and `seconds`: the median of repeated runs. Where the dense way does not fit (more than the
    profile's `dense_limit` parameters) its seconds are those at the limit, writing the matrix scaled by P², solving
    with it by P³; `extrapolated` says so.
    """
    sizes = run.profile.linear
    name = digits.name(run.profile.digits_source)

    def build() -> pd.DataFrame:
        rows = []
        dense = _dense_seconds(run)
        for points, parameters in tqdm(SETTINGS, desc="running times", unit="setting"):
            case = _case(run, points, parameters)
            found = [("dense", 0, dense(points, parameters), None)]
            found += [("exact", 0, _seconds(case.compute_exact), None)]
            found += [(method, count, _seconds(compute), compute()) for method, count, compute in _methods(case)]
            for method, count, seconds, scores in found:
                values = {"seconds": seconds} | ({} if scores is None else _distance(scores, case.exact))
                extrapolated = method == "dense" and parameters > sizes.dense_limit
                about = (points, points, "softmax", points, parameters, count, extrapolated)
                rows += [(name, method, metric, value, None, None, *about) for metric, value in values.items()]
        return pd.DataFrame(rows, columns=[*COLUMNS, "model", "points", "parameters", "iterations", "extrapolated"])

    key = {"linear": sizes.model_dump(include={"decay", "dense_limit"}), "threads": torch.get_num_threads()}
    return _kept(run, "runtimes", key, build)


def iterations(run: Run, attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Figure 4: accuracy and coverage of LiSSA on the language model after each number of iterations.

    Method `lissa` is the recursion, `lissa_released` that of the paper's released code, `exact` (iterations −1) the
    limit of the first, `repsim` (−1) the other end of the comparison.
    """

    def rows(dataset: str, found: Attribution) -> Iterator[tuple]:
        gram = artifact.gram(found.folder)
        labels = [[each.label for each in part] for part in (found.train, found.val)]
        scored = [(method, -1, found.scores[method]) for method in ("exact", "repsim") if method in found.scores]
        for method, path in (("lissa", recursion.lissa), ("lissa_released", recursion.released)):
            paths = path(gram, ITERATIONS, run.profile.damping)
            finite = [(t, scores) for t, scores in zip(ITERATIONS, paths, strict=True) if scores.isfinite().all()]
            scored += [(method, t, scores) for t, scores in finite]
        for method, t, scores in scored:
            for metric in ("accuracy", "coverage"):
                each = getattr(metrics, metric)(scores, *labels)
                yield dataset, method, metric, each.value, each.low, each.high, *map(len, labels), t

    found = [row for dataset, each in attributions.items() for row in rows(dataset, each)]
    return pd.DataFrame(found, columns=[*COLUMNS, "iterations"])


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
            case = _Case(train, test, linear.fit(train, digits.CLASSES, decay), decay)
            without = linear.leave_one_out(train, digits.CLASSES, decay, progress=f"retraining, decay {decay:g}")
            actual = _change(case, without)
            dampings = DAMPINGS if factor == 1.0 else (1.0,)
            for damping in dampings:
                exact = linear.exact_influence(case.weights, train, test, damping * decay)
                found.append(_predicted("exact", exact, actual, decay, damping, 0))
            if factor == 1.0:
                for method, count, scores in _approximations(case):
                    if method != "lissa" or count == LISSA[-1]:
                        found.append(_predicted(method, scores, actual, decay, 1.0, 0))
        descent = linear.descend(train, digits.CLASSES, sizes.decay, STEPS, "retraining, stopped early")
        for steps, (weights, without) in zip(STEPS, descent, strict=True):
            case = _Case(train, test, weights, sizes.decay)
            actual = _change(case, without)
            found.append(_predicted("exact", case.exact, actual, sizes.decay, 1.0, steps))
            found += [
                _predicted(method, scores, actual, sizes.decay, 1.0, steps)
                for method, count, scores in _approximations(case)
                if method != "lissa" or count == LISSA[-1]
            ]
        table = pd.concat(found, ignore_index=True)
        table.insert(0, "dataset", digits.name(run.profile.digits_source))
        return table

    return _kept(run, "left-out", {"linear": sizes.model_dump(include={"decay", "left_out"})}, build)


def truth(points: pd.DataFrame) -> pd.DataFrame:
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


def _pearson(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    x, y = (each - each.mean(axis, keepdims=True) for each in (predicted, actual))
    return (x * y).sum(axis) / np.sqrt((x * x).sum(axis) * (y * y).sum(axis))


def _spearman(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    return _pearson(stats.rankdata(predicted, axis=axis), stats.rankdata(actual, axis=axis), axis)


def _slope(predicted: np.ndarray, actual: np.ndarray, axis: int = -1) -> np.ndarray:
    x, y = (each - each.mean(axis, keepdims=True) for each in (predicted, actual))
    return (x * y).sum(axis) / (x * x).sum(axis)


_AGREEMENT = {"pearson": _pearson, "spearman": _spearman, "slope": _slope}


def _case(run: Run, points: int, parameters: int, draw: int = 0) -> _Case:
    decay = run.profile.linear.decay
    seed = 1_000 * run.seed + draw
    train, test = digits.draw(run.digits, points, points, digits.shape(parameters), seed)
    return _Case(train, test, linear.fit(train, digits.CLASSES, decay), decay)


def _methods(case: _Case) -> Iterator[tuple[str, int, Callable[[], Tensor]]]:
    """Method, iterations and what computes its scores; all but LiSSA go through gradients, as on the language model."""
    for count in LISSA:
        yield "lissa", count, lambda count=count: linear.lissa(case.weights, case.train, case.test, case.decay, count)

    def scored(method: str) -> Tensor:
        G, V = (linear.gradients(case.weights, points) for points in (case.train, case.test))
        gram = Gram.from_gradients({"W": G}, {"W": V})
        if method == "gradsim":
            return influence.gradsim(gram)
        relative = case.decay / gram.damping(1.0).item()  # the engine's damping is relative to the mean square
        return influence.METHODS[method](gram, damping=relative)

    for name, method in (("datainf", "datainf"), ("fisher", "exact"), ("gradsim", "gradsim")):
        yield name, 0, lambda method=method: scored(method)


def _approximations(case: _Case) -> Iterator[tuple[str, int, Tensor]]:
    for method, count, compute in _methods(case):
        yield method, count, compute()


def _distance(scores: Tensor, exact: Tensor) -> dict[str, float]:
    cosine = (scores * exact).sum() / (scores.norm() * exact.norm())
    return {
        "error": (scores - exact).norm(dim=1).mean().item(),
        "relative_error": ((scores - exact).norm() / exact.norm()).item(),
        "direction_error": (1 - cosine**2).clamp(min=0).sqrt().item(),
    }


def _seconds(compute: Callable[[], object]) -> float:
    """Median over repeated runs of a fifth of a second or more in all; one where that is longer. The first warms up."""
    compute()
    taken: list[float] = []
    while sum(taken) < 0.2:
        start = perf_counter()
        compute()
        taken.append(perf_counter() - start)
    return median(taken)


def _dense_seconds(run: Run) -> Callable[[int, int], float]:
    """Seconds of the dense way for so many points and parameters: measured up to the limit, extrapolated above it."""

    @cache
    def measured(points: int, parameters: int) -> tuple[float, float]:
        case = _case(run, points, parameters)
        written = _seconds(lambda: linear.dense_hessian(case.weights, case.train))
        both = _seconds(lambda: linear.dense_influence(case.weights, case.train, case.test, case.decay))
        return written, max(both - written, 0.0)

    def seconds(points: int, parameters: int) -> float:
        size = min(parameters, run.profile.linear.dense_limit)
        written, solved = measured(points, size)
        return written * (parameters / size) ** 2 + solved * (parameters / size) ** 3

    return seconds


def _change(case: _Case, without: Tensor) -> Tensor:
    """Of the mean test loss, [N], from the case's weights to those [N, C, D] of each retraining."""
    return (linear.losses(without, case.test) - linear.losses(case.weights, case.test)).mean(1)


def _predicted(method: str, scores: Tensor, actual: Tensor, decay: float, damping: float, steps: int) -> pd.DataFrame:
    table = {"predicted": (scores.mean(0) / scores.shape[1]).numpy(), "actual": actual.numpy()}
    about = {"method": method, "decay": decay, "damping": damping, "steps": steps, "point": range(len(actual))}
    return pd.DataFrame(about | table)


def _kept(run: Run, name: str, key: dict, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    key |= {"digits": digits.digest(run.digits), "seed": run.seed, "torch": torch.__version__}
    key |= {"code": code("study/intervals", "linear", "gram", "influence", "study/approximation", "study/data/digits")}
    return frame(run.artifacts / "linear", name, key, build)
