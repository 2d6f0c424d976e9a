"""The fine-tunes of the sensitivity study, and what each method scores on them under every choice."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import get_args

import numpy as np
from safetensors.torch import load_file

from ifcore import io, representations
from ifcore.methods import METHODS, OF_GRAM, gram_scores
from study.config import Run
from study.pipeline import attributions, steps
from study.pipeline.attributions import Attribution
from study.pipeline.losses import LossOn
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task

STRONGER = 1_000
LOSSES: tuple[LossOn, ...] = get_args(LossOn)
REFERENCE, OWN = "reference", "own"
POSITIONS = representations.POSITIONS


@dataclass(frozen=True)
class Cell:
    """One fine-tune of the study: a data set at a learning rate, for so many epochs, in a variation of the run."""

    run: Run
    learning_rate: float
    epochs: int
    attribution: Attribution


@dataclass(frozen=True)
class Choice:
    """How a method scores: the `loss` that gradients are taken of; whose response is explained (`target`), the data's
    or the model's own; the damping; and, for RepSim, the `position` of the hidden states."""

    method: str
    loss: str = "response"
    target: str = REFERENCE
    damping: float | None = None
    position: str | None = None


def variations(run: Run) -> Iterator[tuple[str, float, int, Run]]:
    """Data set, learning rate, epochs, and the run that fine-tunes so, for each that is asked for; none stops early."""
    sensitivity = run.profile.sensitivity
    if sensitivity is None:
        raise ValueError("sensitivity: none; its chapter needs data sets, as notebooks/profiles/laptop.yaml has them")
    choices = product(sensitivity.datasets.items(), sensitivity.learning_rates, sensitivity.epochs)
    for (dataset, counts), rate, epochs in choices:
        sized, part = {dataset: counts.model_copy(update={"epochs": epochs})}, f"sensitivity/{rate:g}-{epochs}"
        yield dataset, rate, epochs, run.varied(part, datasets=sized, learning_rate=rate, patience=epochs)


def cells(run: Run) -> Iterator[Cell]:
    """Every fine-tune of the study, made once and kept."""
    for variation in variations(run):
        yield compute_cell(*variation)


def compute_cell(dataset: str, rate: float, epochs: int, varied: Run) -> Cell:
    """One of them, as `variations` yields it."""
    return Cell(varied, rate, epochs, attributions.compute_attribution(varied, dataset))


def compute(dataset: str, rate: float, epochs: int, varied: Run) -> None:
    """One of them with all its scores."""
    scores(compute_cell(dataset, rate, epochs, varied))


def scores(cell: Cell) -> dict[Choice, np.ndarray]:
    """Choice -> scores [M, N], for every choice on one fine-tune."""
    attribution, by_choice = cell.attribution, dict[Choice, np.ndarray]()
    for loss in LOSSES:
        by_choice |= _gradient_scores(cell, attribution, loss, REFERENCE)
    by_choice |= _gradient_scores(cell, with_own_answers(attribution), "response", OWN)
    for position in POSITIONS:
        states = (store.beside(position) for store in steps.stores(attribution.folder))
        by_choice[Choice("repsim", position=position)] = representations.repsim(*states).numpy()
    return by_choice


def with_own_answers(attribution: Attribution) -> Attribution:
    """The attribution with the model's own answers in the place of the responses to be explained.

    A model that says nothing has the response kept: there is no loss of nothing.
    """
    pairs = zip(attribution.val, attribution.after, strict=True)
    val = [replace(example, response=answer or example.response) for example, answer in pairs]
    return replace(attribution, val=val)


def dampings(run: Run) -> list[float]:
    """Seven decades, the profile's own, and one much stronger."""
    decades = (10.0**power for power in range(-4, 4))
    return sorted({*decades, run.profile.damping, STRONGER * run.profile.damping})


def _gradient_scores(cell: Cell, explained: Attribution, loss: LossOn, target: str) -> dict[Choice, np.ndarray]:
    """Of gradients that are kept no longer than it takes, but for those of chapter 3's own way."""
    task = Task(cell.run, explained.dataset)
    folder = task.folder / "options" / f"{loss}-{target}"
    key = steps.explained(task, explained.val) | {
        "loss": loss,
        "batch": cell.run.profile.gradient_batch,
        "dampings": dampings(cell.run),
        "lissa_iterations": cell.run.profile.lissa_iterations,
    }
    with locked_folder(task.folder):
        Stage(folder, "scores", key).make(partial(_score, task, explained, loss, target, folder))
    by_choice = {}
    for name, tensor in load_file(folder / steps.SCORES).items():
        method, _, damping = name.partition("@")
        by_choice[Choice(method, loss, target, float(damping) if damping else None)] = tensor.numpy()
    return by_choice


def _score(task: Task, explained: Attribution, loss: LossOn, target: str, folder: Path) -> list[Path]:
    parts = {"train": explained.train, "val": explained.val}
    label = f"gradients {task.name}, {loss} {target}"
    if loss != "response":
        with steps.temporary_gradients(task, parts, explained.epoch, folder, label, loss) as scratch:
            gram = steps.gram(scratch)
    elif target == OWN:
        with steps.temporary_gradients(task, {"val": explained.val}, explained.epoch, folder, label) as scratch:
            gram = steps.gram(task.folder, scratch)
    else:
        gram = steps.gram(task.folder)
    damped = [key for key in OF_GRAM if "damping" in METHODS[key].options]
    scores = gram_scores([gram], [key for key in OF_GRAM if key not in damped])
    for damping in dampings(task.run):
        by_method = gram_scores([gram], damped, damping, task.run.profile.lissa_iterations)
        scores |= {f"{method}@{damping}": tensor for method, tensor in by_method.items()}
    io.write_tensors(folder / steps.SCORES, scores)
    return [folder / steps.SCORES]
