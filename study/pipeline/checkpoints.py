"""Scores and answers at each checkpoint that a fine-tune left."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from study import selection
from study.config import Run
from study.pipeline import steps
from study.pipeline.answers import cached_answers
from study.pipeline.attributions import Attribution
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task


def followed_epochs(attribution: Attribution) -> list[int]:
    """The epochs that are looked at: 0 (the untouched adapter), powers of three, and the last, which is used."""
    return selection.epochs(attribution.epoch)


def scores(run: Run, attribution: Attribution, epoch: int, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """Method -> [M, N] at the checkpoint of an epoch; fine-tunes nothing.

    `names`: of what `steps.write_scores` leaves; the profile's methods by default.
    """
    if epoch == attribution.epoch:
        return attribution.scores if names is None else steps.read_scores(attribution.folder, names)
    task, folder, key = _place(run, attribution, epoch)
    key |= run.profile.model_dump(include={"damping", "gradient_batch", "lissa_iterations", "methods"})
    with locked_folder(task.folder):
        Stage(folder, "scores", key).make(partial(_score, task, attribution, epoch, folder))
        return steps.read_scores(folder, run.profile.methods if names is None else names)


def answers(run: Run, attribution: Attribution, epoch: int) -> list[str]:
    """The answers to the validation prompts with the adapter of an epoch."""
    if epoch in (0, attribution.epoch):
        return attribution.after if epoch else attribution.before
    task, folder, key = _place(run, attribution, epoch)
    prompts, label = [example.prompt for example in attribution.val], f"answers {task.name} epoch {epoch}"
    with locked_folder(task.folder):
        return cached_answers(task, task.checkpoint(epoch), prompts, folder, key, label)


def _place(run: Run, attribution: Attribution, epoch: int) -> tuple[Task, Path, dict[str, Any]]:
    """The task, the folder of one of its checkpoints, and the key of what is made there."""
    task, folder = Task(run, attribution.dataset), attribution.folder / "epochs" / f"{epoch:02d}"
    return task, folder, {"epoch": epoch, **steps.explained(task, attribution.val)}


def _score(task: Task, attribution: Attribution, epoch: int, target: Path) -> list[Path]:
    """The gradients, as large at every checkpoint, are kept no longer than scoring takes."""
    parts, label = {"train": attribution.train, "val": attribution.val}, f"gradients {task.name} epoch {epoch}"
    with steps.temporary_gradients(task, parts, epoch, target, label) as folder:
        return steps.write_scores(task, folder, target)
