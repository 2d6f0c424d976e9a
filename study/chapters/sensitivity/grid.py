"""The fine-tunes of the sensitivity study, and what each method scores on them under every choice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from ifcore import influence, io, representations
from study.config import Run
from study.pipeline import attributions, steps
from study.pipeline.attributions import Attribution
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task

DAMPINGS = tuple(10.0**power for power in range(-4, 4))
STRONGER = 1_000
LOSSES = ("response", "all", "padded")
REFERENCE, OWN = "reference", "own"
POSITIONS = representations.POSITIONS


@dataclass(frozen=True)
class Cell:
    """One fine-tune of the study: a data set at a learning rate, for so many epochs, in a variation of the run."""

    run: Run
    learning_rate: float
    epochs: int
    found: Attribution


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
    asked = run.profile.sensitivity
    if asked is None:
        raise ValueError("sensitivity: none; its chapter needs data sets, as notebooks/profiles/laptop.yaml has them")
    for dataset, counts in asked.datasets.items():
        for rate in asked.learning_rates:
            for epochs in asked.epochs:
                sized, part = {dataset: counts.model_copy(update={"epochs": epochs})}, f"sensitivity/{rate:g}-{epochs}"
                yield dataset, rate, epochs, run.varied(part, datasets=sized, learning_rate=rate, patience=epochs)


def cells(run: Run) -> Iterator[Cell]:
    """Every fine-tune of the study, made once and kept."""
    for dataset, rate, epochs, varied in variations(run):
        yield Cell(varied, rate, epochs, attributions.compute_attribution(varied, dataset))


def scores(cell: Cell) -> dict[Choice, np.ndarray]:
    """Choice -> scores [M, N], for every choice on one fine-tune."""
    found, made = cell.found, {}
    for loss in LOSSES:
        made |= _scored(cell, found, loss, REFERENCE)
    made |= _scored(cell, spoken(found), "response", OWN)
    states = load_file(found.folder / "representations.safetensors")
    for position in POSITIONS:
        compared = (states[f"{part}.{position}"] for part in ("train", "val"))
        made[Choice("repsim", position=position)] = representations.repsim(*compared).numpy()
    return made


def spoken(found: Attribution) -> Attribution:
    """The attribution with the model's own answers in the place of the responses to be explained.

    A model that says nothing has the response kept: there is no loss of nothing.
    """
    said = [
        replace(each, response=answer or each.response) for each, answer in zip(found.val, found.after, strict=True)
    ]
    return replace(found, val=said)


def dampings(run: Run) -> list[float]:
    """Seven decades, the profile's own, and one much stronger."""
    return sorted({*DAMPINGS, run.profile.damping, STRONGER * run.profile.damping})


def _scored(cell: Cell, explained: Attribution, loss: str, target: str) -> dict[Choice, np.ndarray]:
    """Of gradients that are kept no longer than it takes, but for those of chapter 3's own way."""
    task = Task(cell.run, explained.dataset)
    place = task.folder / "options" / f"{loss}-{target}"
    key = steps.explained(task, explained) | {
        "loss": loss,
        "batch": cell.run.profile.gradient_batch,
        "dampings": dampings(cell.run),
        "lissa_iterations": cell.run.profile.lissa_iterations,
    }
    with locked_folder(task.folder):
        Stage(place, "scores", key).make(partial(_score, task, explained, loss, target, place))
    kept = load_file(place / "scores.safetensors")
    found = {}
    for name, each in kept.items():
        method, _, damping = name.partition("@")
        found[Choice(method, loss, target, float(damping) if damping else None)] = each.numpy()
    return found


def _score(task: Task, explained: Attribution, loss: str, target: str, place: Path) -> list[Path]:
    parts = {"train": explained.train, "val": explained.val}
    label = f"gradients {task.name}, {loss} {target}"
    if loss != "response":
        with steps.temporary_gradients(task, parts, explained.epoch, place, label, loss) as folder:
            gram = steps.gram(folder)
    elif target == OWN:
        with steps.temporary_gradients(task, {"val": explained.val}, explained.epoch, place, label) as folder:
            gram = steps.gram(task.folder, folder)
    else:
        gram = steps.gram(task.folder)
    made = {"gradsim": influence.gradsim(gram), "cosine": influence.cosine(gram)}
    for damping in dampings(task.run):
        made[f"datainf@{damping}"] = influence.datainf(gram, damping)
        made[f"lissa@{damping}"] = influence.lissa(gram, task.run.profile.lissa_iterations, damping)
        made[f"exact@{damping}"] = influence.exact(gram, damping)
        made[f"relatif@{damping}"] = influence.relatif(gram, damping)
    io.write_tensors(place / "scores.safetensors", made)
    return [place / "scores.safetensors"]
