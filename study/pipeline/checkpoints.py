"""Scores and answers at the checkpoints that fine-tuning left, beside those of the epoch used."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

from ifcore import io, lora
from study import selection
from study.config import Run
from study.pipeline import answers as answering
from study.pipeline import steps
from study.pipeline.attributions import Attribution
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task


def followed_epochs(found: Attribution) -> list[int]:
    """The epochs that are looked at: 0 (the untouched adapter), powers of three, and the last, which is used."""
    return selection.epochs(found.epoch)


def scores(run: Run, found: Attribution, epoch: int, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Method -> [M, N] at the checkpoint of an epoch; fine-tunes nothing.

    `names`: of what `steps.scores_of` gives; the profile's methods by default.
    """
    if epoch == found.epoch:
        return found.scores if names is None else steps.read_scores(found.folder, names)
    task, place, key = _at(run, found, epoch)
    key |= {
        "batch": run.profile.gradient_batch,
        **run.profile.model_dump(include={"damping", "lissa_iterations", "methods"}),
    }
    with locked_folder(task.folder):
        Stage(place, "scores", key).make(partial(_score, task, found, epoch, place))
        return steps.read_scores(place, run.profile.methods if names is None else names)


def answers(run: Run, found: Attribution, epoch: int) -> list[str]:
    """The answers to the validation prompts with the adapter of an epoch."""
    if epoch in (0, found.epoch):
        return found.after if epoch else found.before
    task, place, key = _at(run, found, epoch)
    key |= {"max_new_tokens": run.profile.max_new_tokens}
    with locked_folder(task.folder):
        Stage(place, "answers", key).make(partial(_answer, task, found, epoch, place))
        return io.read_json(place / "answers-given.json")["answers"]


def _at(run: Run, found: Attribution, epoch: int) -> tuple[Task, Path, dict]:
    """The task, the folder of one of its checkpoints, and the key of what is made there."""
    task = Task(run, found.dataset)
    return task, found.folder / "epochs" / f"{epoch:02d}", {"epoch": epoch, **steps.explained(task, found)}


def _score(task: Task, found: Attribution, epoch: int, place: Path) -> list[Path]:
    """The scores. The gradients, as large at every checkpoint, are kept no longer than it takes."""
    parts, label = {"train": found.train, "val": found.val}, f"gradients {task.name} epoch {epoch}"
    with steps.temporary_gradients(task, parts, epoch, place, label) as folder:
        io.write_tensors(folder / "representations.safetensors", steps.read_states(folder))
        io.write_tensors(place / "scores.safetensors", steps.scores_of(task, folder))
    return [place / "scores.safetensors"]


def _answer(task: Task, found: Attribution, epoch: int, place: Path) -> list[Path]:
    prompts, file = [example.prompt for example in found.val], place / "answers-given.json"
    with task.adapted(epoch) as model, lora.merged(model):
        label = f"answers {task.name} epoch {epoch}"
        said = answering.generate(model, task.base()[1], prompts, task.run.profile.max_new_tokens, progress=label)
    io.write_json(file, {"answers": said})
    return [file]
