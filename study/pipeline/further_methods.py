"""Further influence methods, which the paper did not run: cosine, RelatIF, GradSim under Adam, EK-FAC, TracIn."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from ifcore import adapter_distance, ekfac, gradients, influence, io, lora
from study import selection
from study.config import Run
from study.pipeline import checkpoints, steps
from study.pipeline.attributions import Attribution
from study.pipeline.stages import Stage, digest_in, locked_folder
from study.pipeline.task import Task

FURTHER = ("cosine", "relatif", "adam", "ekfac", "tracin")


def further_scores(run: Run, found: Attribution) -> dict[str, np.ndarray]:
    """Method -> scores [M, N]: from the gradients that are kept and, for TracIn, the checkpoints that are looked at.

    TracIn is there for the data sets whose checkpoints are followed, EK-FAC for those of `selection.FACTORED`.
    """
    task, place = Task(run, found.dataset), found.folder / "further"
    key = {"of": digest_in(found.folder, "gradients"), "damping": run.profile.damping}
    with locked_folder(task.folder):
        Stage(place, "scores", key).make(partial(_score, run, found, place))
        scores = steps.read_scores(found.folder, ["cosine"]) | steps.read_scores(place, ["relatif", "adam"])
        if found.dataset in selection.FACTORED:
            key |= {"batch": run.profile.gradient_batch}
            Stage(place, "ekfac", key).make(partial(_factor, task, found, place))
            scores["ekfac"] = load_file(place / "ekfac.safetensors")["ekfac"].numpy()
    if found.dataset in selection.FOLLOWED:
        scores["tracin"] = tracin(run, found)
    return scores


def tracin(run: Run, found: Attribution) -> np.ndarray:
    """GradSim summed over the checkpoints that are looked at, each with the learning rate spent around it: [M, N]."""
    looked_at = checkpoints.followed_epochs(found)
    products = [checkpoints.scores(run, found, epoch, ("gradsim",))["gradsim"] for epoch in looked_at]
    task = Task(run, found.dataset)
    return influence.tracin(products, spent(looked_at, task.epochs, run.profile.learning_rate))


def spent(looked_at: Sequence[int], epochs: int, learning_rate: float) -> list[float]:
    """The learning rate spent around each epoch looked at, of a rate that falls to 0 after `epochs`.

    What is spent between two of them counts half for each: the trapezoid rule for TracIn's sum over steps.
    """
    left = [(1 - epoch / epochs) ** 2 * epochs * learning_rate / 2 for epoch in looked_at]  # spent from there on
    between = [before - after for before, after in zip(left, left[1:], strict=False)]
    return [(before + after) / 2 for before, after in zip([0.0, *between], [*between, 0.0], strict=True)]


def _score(run: Run, found: Attribution, place: Path) -> list[Path]:
    weights = adapter_distance.preconditioner(found.checkpoint)
    scores = {
        "relatif": influence.relatif(steps.gram(found.folder), run.profile.damping),
        "adam": influence.gradsim(steps.gram(found.folder, weights=weights)),
    }
    io.write_tensors(place / "scores.safetensors", scores)
    return [place / "scores.safetensors"]


def _factor(task: Task, found: Attribution, place: Path) -> list[Path]:
    profile, factors, file = task.run.profile, {}, place / "ekfac.safetensors"
    with task.adapted(found.epoch) as model:
        batches = lora.example_batches(model, task.base()[1], found.train, profile.gradient_batch)
        deque(gradients.stream(model, batches, f"factors {task.name}", factors), maxlen=0)
    io.write_tensors(file, {"ekfac": ekfac.ekfac(*steps.stores(found.folder), factors, profile.damping)})
    return [file]
