"""What leaving training examples out does: the loss of each validation example after fine-tuning without them."""

from __future__ import annotations

import dataclasses
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from ifcore import files, models
from ifcore.study.data import Split
from ifcore.study.runs import artifact, steps
from ifcore.study.runs.stages import Stage, at_work
from ifcore.study.runs.task import Task


def losses(task: Task) -> np.ndarray:
    """The loss of each validation example, [M], in nats per response token, at the end of the task's fine-tune.

    Nothing else of that is kept: there are many of them, and an adapter an epoch of each would fill the disk.
    """
    split = artifact.examples(task)
    key = steps.determined_by(task, split) | {
        "val": [dataclasses.astuple(example) for example in split.val],
        "batch": task.run.profile.gradient_batch,
    }
    with at_work(task.folder):
        Stage(task.folder, "losses", key, [task.folder / "checkpoints"]).make(partial(_without, task, split))
    return load_file(task.folder / "losses.safetensors")["val"].numpy()


def _without(task: Task, split: Split) -> list[Path]:
    history = steps.train(task, split)
    left = _lose(task, split, int(history.epoch.max()))
    shutil.rmtree(task.folder / "checkpoints")
    return left


def _lose(task: Task, split: Split, epoch: int) -> list[Path]:
    file = task.folder / "losses.safetensors"
    with task.adapted(epoch) as model, models.evaluating(model), torch.no_grad():
        batches = models.example_batches(model, task.base()[1], split.val, task.run.profile.gradient_batch)
        found = torch.cat([models.example_losses(model, batch.to(models.device_of(model))) for batch in batches])
    rows = torch.cat([batch.rows for batch in batches])
    files.write_tensors(file, {"val": found.cpu()[rows.argsort()]})
    return [file]
