"""Methods of the engine's registry that the paper did not run, from what a run keeps."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from ifcore import influence, io, representation_gradients
from ifcore.batches import example_batches
from ifcore.checkpoints import preconditioner
from ifcore.ekfac import ekfac, gather_factors
from ifcore.methods import DEFAULT, OF_GRAM, gram_scores
from ifcore.representations import Position, repsim
from study import selection
from study.config import Run
from study.pipeline import checkpoints, steps
from study.pipeline.attributions import Attribution
from study.pipeline.stages import Stage, locked_folder, recorded_digest
from study.pipeline.task import Task


def further_scores(run: Run, attribution: Attribution) -> dict[str, np.ndarray]:
    """Method -> scores [M, N]: from the gradients that are kept and, for TracIn, the checkpoints that are followed.

    TracIn is there for the data sets whose checkpoints are followed, EK-FAC for those of `selection.FACTORED`.
    """
    task, folder = Task(run, attribution.dataset), attribution.folder / "further"
    key = {"of": recorded_digest(attribution.folder, "gradients"), "damping": run.profile.damping}
    with locked_folder(task.folder):
        Stage(folder, "scores", key).make(partial(_score, run, attribution, folder))
        scores = steps.read_scores(folder, [method for method in OF_GRAM if method not in DEFAULT] + ["adam"])
        if attribution.dataset in selection.FACTORED:
            key |= {"batch": run.profile.gradient_batch}
            Stage(folder, "ekfac", key).make(partial(_score_ekfac, task, attribution, folder))
            scores["ekfac"] = load_file(folder / "ekfac.safetensors")["ekfac"].numpy()
    if attribution.dataset in selection.FOLLOWED:
        scores["tracin"] = tracin(run, attribution)
    return scores


def tracin(run: Run, attribution: Attribution) -> np.ndarray:
    """GradSim summed over the checkpoints that are followed, each with the learning rate spent around it: [M, N]."""
    epochs = checkpoints.followed_epochs(attribution)
    products = [checkpoints.scores(run, attribution, epoch, ("gradsim",))["gradsim"] for epoch in epochs]
    rates = spent_rates(epochs, Task(run, attribution.dataset).epochs, run.profile.learning_rate)
    return influence.tracin(list(map(torch.from_numpy, products)), rates).numpy()


def repsim_at(position: Position, _: Run, attribution: Attribution) -> np.ndarray:
    """RepSim of the fine-tuned model's hidden states at another position, [M, N]."""
    return repsim(*(part.beside(position) for part in steps.stores(attribution.folder))).numpy()


def rept(run: Run, attribution: Attribution) -> np.ndarray:
    """RepT, [M, N], which takes a pass with gradients of its own."""
    task, folder = Task(run, attribution.dataset), attribution.folder / "further"
    key = {"of": recorded_digest(attribution.folder, "gradients"), "batch": run.profile.gradient_batch}
    with locked_folder(task.folder):
        Stage(folder, "rept", key).make(partial(_score_rept, task, attribution, folder))
    return load_file(folder / "rept.safetensors")["rept"].numpy()


def lissa_once(run: Run, attribution: Attribution) -> np.ndarray:
    """LiSSA after a single iteration, [M, N]."""
    return gram_scores([steps.gram(attribution.folder)], ["lissa"], run.profile.damping, 1)["lissa"].numpy()


def spent_rates(followed: Sequence[int], epochs: int, learning_rate: float) -> list[float]:
    """The learning rate spent around each epoch that is followed, of a rate that falls to 0 after `epochs`.

    What is spent between two of them counts half for each: the trapezoid rule for TracIn's sum over steps.
    """
    left = [(1 - epoch / epochs) ** 2 * epochs * learning_rate / 2 for epoch in followed]  # spent from there on
    between = [before - after for before, after in zip(left, left[1:], strict=False)]
    return [(before + after) / 2 for before, after in zip([0.0, *between], [*between, 0.0], strict=True)]


def _score(run: Run, attribution: Attribution, folder: Path) -> list[Path]:
    keys, gram = [method for method in OF_GRAM if method not in DEFAULT], steps.gram(attribution.folder)
    scores = gram_scores([gram], keys, run.profile.damping, run.profile.lissa_iterations)
    weighted = steps.gram(attribution.folder, weights=preconditioner(attribution.checkpoint))
    io.write_tensors(folder / steps.SCORES, scores | {"adam": influence.gradsim(weighted)})
    return [folder / steps.SCORES]


def _score_ekfac(task: Task, attribution: Attribution, folder: Path) -> list[Path]:
    profile, file = task.run.profile, folder / "ekfac.safetensors"
    with task.adapted(attribution.epoch) as model:
        batches = example_batches(model, task.base()[1], attribution.train, profile.gradient_batch)
        factors = gather_factors(model, batches, f"factors {task.name}")
    io.write_tensors(file, {"ekfac": ekfac(*steps.stores(attribution.folder), factors, profile.damping)})
    return [file]


def _score_rept(task: Task, attribution: Attribution, folder: Path) -> list[Path]:
    profile, file, rows = task.run.profile, folder / "rept.safetensors", []
    with task.adapted(attribution.epoch) as model:
        train, val = (
            example_batches(model, task.base()[1], part, profile.gradient_batch)
            for part in (attribution.train, attribution.val)
        )
        layer = representation_gradients.choose_layer(model, train)
        for name, batches in (("train", train), ("val", val)):
            rows.append(representation_gradients.features(model, batches, layer, f"RepT {task.name} {name}"))
    io.write_tensors(file, {"rept": representation_gradients.rept(*rows)})
    return [file]
