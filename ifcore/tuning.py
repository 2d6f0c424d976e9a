"""A damping for each method: that with which it ranks halves best that are not judged on."""

from collections.abc import Mapping, Sequence

from ifcore.inputs import Inputs
from ifcore.judge import Judge
from ifcore.methods import METHODS, compute_scores
from ifcore.retraining_plan import Scores

DAMPINGS = tuple(10.0**power for power in range(-3, 4))


def is_damped(keys: Sequence[str]) -> bool:
    """Whether any of the methods has a damping."""
    return any("damping" in METHODS[key].options for key in keys)


def choose_dampings(inputs: Inputs, keys: Sequence[str], iterations: int, judge: Judge) -> dict[str, float]:
    """Method -> the damping of DAMPINGS with which its scores rank the tuning halves of the judge's plan best."""
    damped = [key for key in keys if is_damped([key])]
    values: dict[str, dict[float, float]] = {key: {} for key in damped}
    for damping in DAMPINGS if damped else ():
        for key, scores in compute_scores(inputs, damped, damping, iterations).items():
            values[key][damping] = judge.rank_correlation(scores.numpy(), judge.plan.tuning)
    return {key: max(by_damping, key=lambda one: (by_damping[one], -one)) for key, by_damping in values.items()}


def scores_at(
    inputs: Inputs, keys: Sequence[str], damping: float, iterations: int, dampings: Mapping[str, float]
) -> Scores:
    """Method -> scores [M, N], each with its own of `dampings`, else with `damping`."""
    groups: dict[float, list[str]] = {}
    for key in keys:
        groups.setdefault(dampings.get(key, damping), []).append(key)
    computed = [compute_scores(inputs, group, value, iterations) for value, group in groups.items()]
    scores = {key: matrix.cpu().numpy() for part in computed for key, matrix in part.items()}
    return {key: scores[key] for key in keys}
