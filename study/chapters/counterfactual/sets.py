"""Which training examples are left out: random halves, what a ranking has on top, and one at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ifcore.examples import Example
from study.config import Run
from study.pipeline.attributions import Attribution
from study.pipeline.stages import digest_in
from study.pipeline.task import Task

REMOVED_FROM = "mixed_small"  # the paper's 20 harmful among 40
CAUSE = "harmful"
DRAWS = 3  # random removals
ORACLE = "oracle"


@dataclass(frozen=True)
class Removal:
    """Training examples, by their place, that go because of `method`; `draw` tells apart those of chance."""

    method: str
    removed: int
    left_out: tuple[int, ...]
    draw: int = 0


def determined_by(run: Run, found: Attribution) -> dict[str, Any]:
    """What the chapter's tables depend on, beside their code."""
    scores = {
        name: hashlib.sha256(np.ascontiguousarray(each).tobytes()).hexdigest() for name, each in found.scores.items()
    }
    asked = run.profile.counterfactual.model_dump(exclude={"datasets"})
    return {"of": digest_in(found.folder, "answers"), "scores": scores, "seed": run.seed, **asked}


def variations(run: Run) -> Iterator[tuple[str, Run]]:
    """Data set, and the run that has it in the chapter's sizes.

    Raises ValueError for a profile without the chapter, and where REMOVED_FROM is missing.
    """
    asked = run.profile.counterfactual
    if asked is None:
        raise ValueError("counterfactual: none; its chapter needs sizes, as notebooks/profiles/laptop.yaml has them")
    if REMOVED_FROM not in asked.datasets:
        raise ValueError(
            f"counterfactual.datasets: {', '.join(asked.datasets)}; add {REMOVED_FROM}, which is removed from"
        )
    for dataset, counts in asked.datasets.items():
        yield dataset, run if counts is None else run.varied("counterfactual", datasets={dataset: counts})


def halves(size: int, count: int, seed: int) -> np.ndarray:
    """Which of `size` training examples each of `count` random halves keeps, bool [H, N]; an odd one more goes."""
    random, kept = np.random.default_rng([seed, size]), np.zeros((count, size), dtype=bool)
    for row in kept:
        row[random.permutation(size)[: size // 2]] = True
    return kept


def without(run: Run, dataset: str, kept: np.ndarray, again: int = 0) -> list[Task]:
    """The fine-tune on each row of `kept` [H, N], from another seed where `again` says so."""
    return [Task(run, dataset, left_out=tuple(np.flatnonzero(~row).tolist()), again=again) for row in kept]


def removals(
    scores: Mapping[str, np.ndarray], train: Sequence[Example], counts: Sequence[int], seed: int
) -> list[Removal]:
    """For each count: what each method has on top, what chance draws DRAWS times, and what the oracle knows of.

    A method ranks by its scores [M, N] summed over the explained examples: by the influence on their mean loss. The
    oracle removes examples of the class that is explained, all of them where the count allows.
    """
    found = []
    for count in counts:
        if count >= len(train):
            raise ValueError(f"counterfactual.removed: {count} of {len(train)} training examples; fewer must go")
        for method, each in scores.items():
            if method != "random":
                top = np.argsort(-np.asarray(each, dtype=float).sum(0), kind="stable")[:count]
                found.append(Removal(method, count, _places(top)))
        drawn = halves(len(train), DRAWS, seed)  # random halves that the datamodels have anyway, where half of all go
        for draw in range(DRAWS):
            out = np.flatnonzero(~drawn[draw])
            if len(out) != count:
                out = np.random.default_rng([seed, count, draw]).permutation(len(train))[:count]
            found.append(Removal("random", count, _places(out), draw))
        causes = [place for place, example in enumerate(train) if example.label == CAUSE]
        rest = [place for place, example in enumerate(train) if example.label != CAUSE]
        order = np.random.default_rng([seed, count, DRAWS])
        found.append(Removal(ORACLE, count, _places([*order.permutation(causes), *order.permutation(rest)][:count])))
    return found


def _places(rows) -> tuple[int, ...]:
    return tuple(sorted(int(row) for row in rows))
