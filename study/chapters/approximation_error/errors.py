"""How far the approximations of influence are from the exact one, on softmax regression, and how long each takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from statistics import median
from time import perf_counter
from typing import Any

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
from study.pipeline.stages import cached_frame
from study.schema import COLUMNS

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

    exact = cached_property(compute_exact)


def errors(run: Run) -> pd.DataFrame:
    """Each method's `_distances` from the exact influence, over points and over parameters: a row a draw."""
    sizes = run.profile.linear
    middle = sorted(sizes.parameters)[len(sizes.parameters) // 2]
    settings = [("points", points, middle) for points in sizes.points]
    settings += [("parameters", sizes.points[0], parameters) for parameters in sizes.parameters]

    def build() -> pd.DataFrame:
        rows = []
        for over, points, parameters in tqdm(settings, desc="approximation errors", unit="size"):
            for draw in range(sizes.draws):
                case = _case(run, points, parameters, draw)
                for method, count, compute in approximations(case):
                    for metric, value in _distances(compute(), case.exact).items():
                        rows.append((over, points, parameters, method, count, metric, draw, value))
        return pd.DataFrame(rows, columns=[*_SIZE, "draw", "value"])

    key = {"linear": sizes.model_dump(exclude={"dense_limit", "left_out"})}
    return cached_linear(run, "errors", key, build)


def error_means(run: Run, drawn: pd.DataFrame) -> pd.DataFrame:
    """Figure 3: `errors` averaged over draws, with 95 % t-intervals; tidy."""
    rows, name = [], digits.name(run.profile.digits_source)
    for (over, points, parameters, method, count, metric), part in drawn.groupby(_SIZE, sort=False):
        setting = (points, points, "softmax", over, points, parameters, count)
        rows.append((name, method, metric, part.value.mean(), *statistics.interval_of_mean(part.value), *setting))
    return pd.DataFrame(rows, columns=[*COLUMNS, "model", "over", "points", "parameters", "iterations"])


def growth(drawn: pd.DataFrame) -> pd.DataFrame:
    """The exponents by which the distances of `errors` grow with the size, and their 95 % t-intervals over draws.

    Each is the slope of log(value) on log(size): 1 is as fast as the size, 0 not at all.
    """
    rows, keys = [], ["over", "method", "iterations", "metric"]
    for (over, *key), part in drawn.groupby(keys, sort=False):
        draws = (draw for _, draw in part.groupby("draw"))
        slopes = pd.Series([np.polyfit(np.log(draw[over]), np.log(draw.value), 1)[0] for draw in draws])
        rows.append((over, *key, slopes.mean(), *statistics.interval_of_mean(slopes)))
    return pd.DataFrame(rows, columns=[*keys, "value", "ci_low", "ci_high"])


def runtimes(run: Run) -> pd.DataFrame:
    """Table 5: `seconds` from fitted weights to scores, and the distances of `errors`, in the paper's settings.

    Above the profile's `dense_limit` parameters the dense way's seconds are `extrapolated` from those at the limit:
    writing the matrix by the square, solving with it by the cube of their number.
    """
    sizes, name = run.profile.linear, digits.name(run.profile.digits_source)
    settings = [(printed["points"], printed["parameters"]) for printed in paper()["table5"]]

    def build() -> pd.DataFrame:
        rows: list[tuple] = []
        dense = cache(partial(_dense_seconds, run))
        for points, parameters in tqdm(settings, desc="running times", unit="setting"):
            case = _case(run, points, parameters)
            size = min(parameters, sizes.dense_limit)
            writing, solving = dense(points, size)
            seconds = writing * (parameters / size) ** 2 + solving * (parameters / size) ** 3
            measured = [("dense", 0, {"seconds": seconds}), ("exact", 0, {"seconds": _seconds(case.compute_exact)})]
            for method, count, compute in approximations(case):
                measured.append((method, count, {"seconds": _seconds(compute)} | _distances(compute(), case.exact)))
            for method, count, values in measured:
                extrapolated = method == "dense" and parameters > size
                setting = (points, points, "softmax", points, parameters, count, extrapolated)
                rows += [(name, method, metric, value, None, None, *setting) for metric, value in values.items()]
        return pd.DataFrame(rows, columns=[*COLUMNS, "model", "points", "parameters", "iterations", "extrapolated"])

    key = {"linear": sizes.model_dump(include={"decay", "dense_limit"}), "settings": settings}
    return cached_linear(run, "runtimes", key | {"threads": torch.get_num_threads()}, build)


def cached_linear(run: Run, name: str, key: dict[str, Any], build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """A frame of section 4.1, cached under artifacts/; it depends on the digits, the seed and the version of torch."""
    key |= {"digits": digits.digest(run.digits), "seed": run.seed, "torch": torch.__version__}
    return cached_frame(run.artifacts / "linear", name, key, build)


def _case(run: Run, points: int, parameters: int, draw: int = 0) -> Case:
    decay = run.profile.linear.decay
    seed = 1_000 * run.seed + draw
    train, test = digits.draw(run.digits, points, points, digits.shape(parameters), seed)
    return Case(train, test, linear.fit(train, digits.CLASSES, decay), decay)


def approximations(case: Case) -> Iterator[tuple[str, int, Callable[[], Tensor]]]:
    """Method, iterations and what computes its scores; all but LiSSA go through gradients, as on the language model."""

    def gram() -> Gram:
        G, V = (linear.gradients(case.weights, points) for points in (case.train, case.test))
        return Gram.from_gradients({"W": G}, {"W": V})

    def damped(method: Callable[..., Tensor]) -> Tensor:
        products = gram()
        relative = case.decay / products.damping(1.0).item()  # the engine's is relative to the mean square
        return method(products, damping=relative)

    for count in LISSA:
        yield "lissa", count, partial(linear.lissa, case.weights, case.train, case.test, case.decay, count)
    yield "datainf", 0, partial(damped, influence.datainf)
    yield "fisher", 0, partial(damped, influence.exact)
    yield "gradsim", 0, lambda: influence.gradsim(gram())


def _distances(scores: Tensor, exact: Tensor) -> dict[str, float]:
    """`error`: the mean over validation points of the L2 norm, over training points, of the difference of the scores;
    `relative_error`: the Frobenius norm of the difference by that of the exact scores; `direction_error`: the mean over
    validation points of 1 − cosine, 0 for proportional scores, 1 for unrelated ones."""
    cosine = torch.nn.functional.cosine_similarity(scores, exact, dim=1)
    return {
        "error": (scores - exact).norm(dim=1).mean().item(),
        "relative_error": ((scores - exact).norm() / exact.norm()).item(),
        "direction_error": (1 - cosine).mean().item(),
    }


def _seconds(compute: Callable[[], object]) -> float:
    """Median over repeated runs of a fifth of a second or more in all, after a first one that warms up; that one alone
    where it takes a second, beside which warming up is nothing."""
    times: list[float] = []
    while sum(times[1:]) < 0.2 and max(times, default=0.0) < 1.0:
        start = perf_counter()
        compute()
        times.append(perf_counter() - start)
    return median(times[1:] or times)


def _dense_seconds(run: Run, points: int, parameters: int) -> tuple[float, float]:
    """Seconds of the dense way: to write the matrix, and to solve with it."""
    case = _case(run, points, parameters)
    writing = _seconds(lambda: linear.dense_hessian(case.weights, case.train))
    both = _seconds(lambda: linear.dense_influence(case.weights, case.train, case.test, case.decay))
    return writing, max(both - writing, 0.0)
