"""How far the approximations of influence are from the exact one, on softmax regression, and how long each takes.

Every function gives a tidy frame, computed once and kept under artifacts/.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from ifcore import influence, linear
from ifcore.gram import Gram
from ifcore.linear import Points
from study import statistics
from study.config import Run
from study.datasets import digits
from study.paper import paper
from study.pipeline.stages import frame
from study.report.names import COLUMNS

LISSA = (1, 5, 10)  # the paper's numbers of iterations
_SIZE = ["over", "points", "parameters", "method", "iterations", "metric"]


@dataclass(frozen=True)
class Case:
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
                for method, count, scores in approximations(case):
                    for metric, value in _distance(scores, case.exact).items():
                        rows.append((over, points, parameters, method, count, metric, draw, value))
        return pd.DataFrame(rows, columns=[*_SIZE, "draw", "value"])

    return kept(run, "errors", {"linear": sizes.model_dump(exclude={"dense_limit", "left_out"})}, build)


def error_means(run: Run, drawn: pd.DataFrame) -> pd.DataFrame:
    """Figure 3: `errors` averaged over draws, with 95 % t-intervals; tidy."""
    rows = []
    for (over, points, parameters, method, count, metric), part in drawn.groupby(_SIZE, sort=False):
        low, high = statistics.interval_of_mean(part.value)
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
        rows.append((over, method, count, metric, slopes.mean(), *statistics.interval_of_mean(slopes)))
    return pd.DataFrame(rows, columns=["over", "method", "iterations", "metric", "value", "ci_low", "ci_high"])


def runtimes(run: Run) -> pd.DataFrame:
    """Table 5: seconds from fitted weights to scores, and the distance from the exact scores, in the paper's settings.

    Metrics as in `errors`, and `seconds`: the median of repeated runs. Where the dense way does not fit (more than the
    profile's `dense_limit` parameters) its seconds are those at the limit, writing the matrix scaled by P², solving
    with it by P³; `extrapolated` says so.
    """
    sizes = run.profile.linear
    name = digits.name(run.profile.digits_source)
    settings = [(printed["points"], printed["parameters"]) for printed in paper()["table5"]]

    def build() -> pd.DataFrame:
        rows = []
        dense = _dense_seconds(run)
        for points, parameters in tqdm(settings, desc="running times", unit="setting"):
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

    key = {"linear": sizes.model_dump(include={"decay", "dense_limit"}), "settings": settings}
    key |= {"threads": torch.get_num_threads()}
    return kept(run, "runtimes", key, build)


def approximations(case: Case) -> Iterator[tuple[str, int, Tensor]]:
    """Method, iterations and scores of everything that stands in for the exact influence."""
    for method, count, compute in _methods(case):
        yield method, count, compute()


def kept(run: Run, name: str, key: dict, build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A frame of section 4.1, kept under artifacts/; it depends on the digits, the seed and the version of torch."""
    key |= {"digits": digits.digest(run.digits), "seed": run.seed, "torch": torch.__version__}
    return frame(run.artifacts / "linear", name, key, build)


def _case(run: Run, points: int, parameters: int, draw: int = 0) -> Case:
    decay = run.profile.linear.decay
    seed = 1_000 * run.seed + draw
    train, test = digits.draw(run.digits, points, points, digits.shape(parameters), seed)
    return Case(train, test, linear.fit(train, digits.CLASSES, decay), decay)


def _methods(case: Case) -> Iterator[tuple[str, int, Callable[[], Tensor]]]:
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
