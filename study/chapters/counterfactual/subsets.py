"""Which training examples a model is retrained on: random halves, all but what a ranking has on top, all but one."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ifcore.examples import Example
from study.config import Run
from study.pipeline.attributions import Attribution
from study.pipeline.stages import recorded_digest
from study.pipeline.task import Task
from study.profile import Counterfactual

REMOVED_FROM = "mixed_small"  # the paper's 20 harmful among 40
CAUSE = "harmful"
DRAWS = 3  # random removals
ORACLE = "oracle"


@dataclass(frozen=True)
class Removal:
    """Training examples, by their place, that are left out because of `method`, that of chance having several draws."""

    method: str
    removed: int
    left_out: tuple[int, ...]


def settings(run: Run) -> Counterfactual:
    """The chapter's part of the profile. Raises ValueError for a profile without it."""
    if run.profile.counterfactual is None:
        raise ValueError("counterfactual: none; its chapter needs sizes, as notebooks/profiles/laptop.yaml has them")
    return run.profile.counterfactual


def stage_key(run: Run, attribution: Attribution) -> dict[str, Any]:
    """What the chapter's tables depend on, beside their code."""
    scores = {
        name: hashlib.sha256(np.ascontiguousarray(matrix).tobytes()).hexdigest()
        for name, matrix in attribution.scores.items()
    }
    answers = recorded_digest(attribution.folder, "answers")
    return {"of": answers, "scores": scores, "seed": run.seed, **settings(run).model_dump(exclude={"datasets"})}


def variations(run: Run) -> Iterator[tuple[str, Run]]:
    """Data set, and the run that has it in the chapter's sizes.

    Raises ValueError for a profile without the chapter, and where REMOVED_FROM is missing.
    """
    sizes = settings(run).datasets
    if REMOVED_FROM not in sizes:
        raise ValueError(f"counterfactual.datasets: {', '.join(sizes)}; add {REMOVED_FROM}, which is removed from")
    for dataset, counts in sizes.items():
        yield dataset, run if counts is None else run.varied("counterfactual", datasets={dataset: counts})


def halves(size: int, count: int, seed: int) -> np.ndarray:
    """Which of `size` training examples each of `count` random halves keeps, bool [H, N]; of an odd number, the smaller
    part is kept."""
    random, masks = np.random.default_rng([seed, size]), np.zeros((count, size), dtype=bool)
    for mask in masks:
        mask[random.permutation(size)[: size // 2]] = True
    return masks


def tasks(run: Run, dataset: str, masks: np.ndarray, replicate: int = 0) -> list[Task]:
    """The fine-tune on what each of `masks` [H, N] keeps; a `replicate` starts from another seed."""
    return [Task(run, dataset, left_out=_places(np.flatnonzero(~mask)), replicate=replicate) for mask in masks]


def left_out_alone(run: Run, dataset: str, size: int) -> list[Task]:
    """The fine-tunes on all but one of the first examples, of so many as the profile asks for."""
    count = min(settings(run).left_out, size) if dataset == REMOVED_FROM else 0
    return [Task(run, dataset, left_out=(row,)) for row in range(count)]


def reseeded(run: Run, dataset: str) -> list[Task]:
    """The fine-tunes on all examples from other seeds."""
    return [Task(run, dataset, replicate=seed) for seed in range(1, settings(run).reseeded + 1)]


def retrained(run: Run, dataset: str, size: int) -> list[Task]:
    """All fine-tunes whose losses the chapter asks for and that are known before any score, of `size` examples."""
    masks, again = halves(size, settings(run).halves, run.seed), settings(run).again
    chosen = tasks(run, dataset, masks)
    if again >= 3:
        chosen += tasks(run, dataset, masks[:again], replicate=1)
    if dataset == REMOVED_FROM:
        chosen += reseeded(run, dataset)
    return chosen + left_out_alone(run, dataset, size)


def removals(
    scores: Mapping[str, np.ndarray], train: Sequence[Example], counts: Sequence[int], seed: int
) -> list[Removal]:
    """For each count: what each method has on top, what chance draws DRAWS times, and what the oracle knows of.

    A method ranks by its scores [M, N] summed over the explained examples: by the influence on their mean loss. The
    oracle removes examples of the class that is explained, all of them where the count allows.
    """
    chosen = []
    for count in counts:
        if count >= len(train):
            raise ValueError(f"counterfactual.removed: {count} of {len(train)} training examples; fewer must go")
        for method, matrix in scores.items():
            if method != "random":
                top = np.argsort(-np.asarray(matrix, dtype=float).sum(0), kind="stable")[:count]
                chosen.append(Removal(method, count, _places(top)))
        for draw, mask in enumerate(halves(len(train), DRAWS, seed)):
            left_out = np.flatnonzero(~mask)  # a half that the datamodels have anyway, where half of all go
            if len(left_out) != count:
                left_out = np.random.default_rng([seed, count, draw]).permutation(len(train))[:count]
            chosen.append(Removal("random", count, _places(left_out)))
        causes = [place for place, example in enumerate(train) if example.label == CAUSE]
        rest = [place for place, example in enumerate(train) if example.label != CAUSE]
        random = np.random.default_rng([seed, count, DRAWS])
        order = [*random.permutation(causes), *random.permutation(rest)]
        chosen.append(Removal(ORACLE, count, _places(order[:count])))
    return chosen


def _places(rows: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(int(row) for row in rows))
