"""What a fine-tune without some training examples, or from other seeds, does; nothing else of it is kept.

There are many of them, and an adapter an epoch of each would fill the disk.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load_file

from ifcore import files, models, training
from ifcore.study.data import Split
from ifcore.study.runs import answers, artifact, base, steps
from ifcore.study.runs.stages import Stage, at_work
from ifcore.study.runs.task import Task

CORES = 4  # that one fine-tune makes good use of

Result = TypeVar("Result")


def losses(task: Task) -> np.ndarray:
    """The loss of each validation example, [M], in nats per response token, at the end of the task's fine-tune."""
    split = artifact.examples(task)
    with at_work(task.folder):
        stage = Stage(task.folder, "losses", _key(task, split), [task.folder / "checkpoints"])
        stage.make(partial(_without, task, split, steps.settings(task)))
    return load_file(task.folder / "losses.safetensors")["val"].numpy()


def behaviour(task: Task) -> tuple[np.ndarray, list[str]]:
    """The losses, and the answers to the validation prompts."""
    split = artifact.examples(task)
    key = _key(task, split) | {"max_new_tokens": task.run.profile.max_new_tokens}
    with at_work(task.folder):
        stage = Stage(task.folder, "behaviour", key, [task.folder / "checkpoints"])
        stage.make(partial(_answering, task, split, steps.settings(task)))
    told = files.read_json(task.folder / "behaviour-told.json")
    return np.array(told["losses"], dtype=np.float32), told["answers"]


def each(compute: Callable[[Task], Result], tasks: Sequence[Task], workers: int | None = None) -> list[Result]:
    """`losses` or `behaviour` of each task, in the order given, each distinct task once.

    As many at a time, in processes of their own, as there are `CORES` threads for each; one at a time on a graphics
    card. `workers`: another number of processes.
    """
    wanted = list(dict.fromkeys(tasks))
    if workers is None:
        workers = 1 if base.device() != "cpu" else max(1, torch.get_num_threads() // CORES)
    if min(workers, len(wanted)) < 2:
        found = dict(zip(wanted, map(compute, wanted), strict=True))
    else:
        for task in wanted[:1]:
            task.base()  # what all of them start from is made once, before they wait for each other
        threads = max(1, torch.get_num_threads() // workers)
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
            found = dict(zip(wanted, pool.map(compute, wanted), strict=True))
    return [found[task] for task in tasks]


def _key(task: Task, split: Split) -> dict[str, Any]:
    return steps.determined_by(task, split) | {
        "val": [dataclasses.astuple(example) for example in split.val],
        "batch": task.run.profile.gradient_batch,
    }


def _without(task: Task, split: Split, how: training.Settings) -> list[Path]:
    history = steps.train(task, split, how)
    file = task.folder / "losses.safetensors"
    files.write_tensors(file, {"val": _lose(task, split, int(history.epoch.max()))})
    shutil.rmtree(task.folder / "checkpoints")
    return [file]


def _answering(task: Task, split: Split, how: training.Settings) -> list[Path]:
    history = steps.train(task, split, how)
    epoch, prompts = int(history.epoch.max()), [example.prompt for example in split.val]
    lost = _lose(task, split, epoch)
    with task.adapted(epoch) as model, models.merged(model):
        label = f"answers {task.name}"
        said = answers.generate(model, task.base()[1], prompts, task.run.profile.max_new_tokens, progress=label)
    file = task.folder / "behaviour-told.json"
    files.write_json(file, {"losses": lost.tolist(), "answers": said})
    shutil.rmtree(task.folder / "checkpoints")
    return [file]


def _lose(task: Task, split: Split, epoch: int) -> torch.Tensor:
    """The loss of each validation example at a checkpoint, [M]."""
    with task.adapted(epoch) as model, models.evaluating(model), torch.no_grad():
        batches = models.example_batches(model, task.base()[1], split.val, task.run.profile.gradient_batch)
        found = torch.cat([models.example_losses(model, batch.to(models.device_of(model))) for batch in batches])
    rows = torch.cat([batch.rows for batch in batches])
    return found.cpu()[rows.argsort()]
