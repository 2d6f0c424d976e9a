"""Retraining: what a fine-tune without some training examples, or from another seed, does.

Of its adapters only the last is kept: there are many of them, and one an epoch would fill the disk.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from safetensors.torch import load_file
from tqdm import tqdm

from ifcore import io, training
from ifcore.batches import example_batches
from ifcore.losses import evaluate_losses
from study.datasets import Split
from study.pipeline import attributions, steps
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task

ADAPTER = "adapter"  # the folder in a task's that keeps the last one

Result = TypeVar("Result")


def losses(task: Task) -> np.ndarray:
    """The loss of each validation example, [M], in nats per response token, at the end of the task's fine-tune."""
    split = attributions.examples(task)
    with locked_folder(task.folder):
        task.aligned_adapter()  # trained, if it is missing, before this stage's clock starts
        key = steps.determined_by(task, split) | {"batch": task.run.profile.gradient_batch}
        key |= {"val": list(map(dataclasses.astuple, split.val))}
        checkpoints = [task.folder / "checkpoints"]
        stage = Stage(task.folder, "losses", key, checkpoints, temporary=checkpoints)
        stage.make(partial(_train, task, split, steps.training_settings(task)))
        return load_file(task.folder / "losses.safetensors")["val"].numpy()


def adapter(task: Task) -> Path:
    """Where the adapter at the end of the task's fine-tune lies, made once; of the others none is kept."""
    split = attributions.examples(task)
    with locked_folder(task.folder):
        task.aligned_adapter()  # as above
        checkpoints = [task.folder / "checkpoints"]
        key = steps.determined_by(task, split)
        stage = Stage(task.folder, "fine-tune", key, checkpoints, temporary=checkpoints)
        stage.make(partial(_train_adapter, task, split, steps.training_settings(task)))
        return task.folder / ADAPTER


def map_tasks(compute: Callable[[Task], Result], tasks: Sequence[Task], label: str) -> list[Result]:
    """`compute` of each task, in the order given, each distinct task once; `label` names the bar."""
    distinct = {task.folder: task for task in tasks}
    results = map(compute, tqdm(distinct.values(), desc=label, unit="fine-tune"))
    by_folder = dict(zip(distinct, results, strict=True))
    return [by_folder[task.folder] for task in tasks]


def _train(task: Task, split: Split, settings: training.Settings) -> list[Path]:
    epoch = int(steps.train(task, split, settings).epoch.max())
    with task.adapted(epoch) as model:
        batches = example_batches(model, task.base()[1], split.val, task.run.profile.gradient_batch)
        val_losses = evaluate_losses(model, batches)
    file = task.folder / "losses.safetensors"
    io.write_tensors(file, {"val": val_losses})
    return [file, *_keep_adapter(task, epoch)]


def _train_adapter(task: Task, split: Split, settings: training.Settings) -> list[Path]:
    return _keep_adapter(task, int(steps.train(task, split, settings).epoch.max()))


def _keep_adapter(task: Task, epoch: int) -> list[Path]:
    """Copies the adapter of an epoch to where it stays; its files."""
    place = task.folder / ADAPTER
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(task.checkpoint(epoch), place)
    return sorted(place.iterdir())
