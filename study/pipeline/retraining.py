"""Retraining: what a fine-tune without some training examples, or from another seed, does.

Of its adapters only the last is kept: there are many of them, and one an epoch would fill the disk.
"""

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import psutil
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from ifcore import io, training
from ifcore.batches import example_batches
from ifcore.losses import evaluate_losses
from study.datasets import Split
from study.pipeline import attributions, base_model, steps
from study.pipeline.answers import cached_answers
from study.pipeline.stages import Stage, locked_folder, recorded_digest
from study.pipeline.task import Task

# Two processes of one thread each get through a third more fine-tunes than one of two threads: measured with the
# default model. A smaller one ends before the processes have started; a larger one must fit into memory so many times.
SMALLEST = 20_000_000  # parameters
COPIES, AROUND = 4, 2**30  # bytes that a process needs: so many times the weights', and what surrounds them

Result = TypeVar("Result")


def losses(task: Task) -> np.ndarray:
    """The loss of each validation example, [M], in nats per response token, at the end of the task's fine-tune."""
    split = attributions.examples(task)
    with locked_folder(task.folder):
        task.aligned_adapter()  # trained, if it is missing, before this stage's clock starts
        key = steps.determined_by(task, split) | {"batch": task.run.profile.gradient_batch}
        key |= {"val": list(map(dataclasses.astuple, split.val))}
        stage = Stage(task.folder, "losses", key, [task.folder / "checkpoints"])
        stage.make(partial(_train, task, split, steps.training_settings(task)))
        return load_file(task.folder / "losses.safetensors")["val"].numpy()


def behaviour(task: Task) -> tuple[np.ndarray, list[str]]:
    """The losses, and the answers to the validation prompts."""
    val_losses, prompts = losses(task), [example.prompt for example in attributions.examples(task).val]
    with locked_folder(task.folder):
        key = {"of": recorded_digest(task.folder, "losses")}
        adapter, label = task.folder / "adapter", f"answers {task.name}"
        return val_losses, cached_answers(task, adapter, prompts, task.folder, key, label)


def map_tasks(
    compute: Callable[[Task], Result], tasks: Sequence[Task], label: str, workers: int | None = None
) -> list[Result]:
    """`losses` or `behaviour` of each task, in the order given, each distinct task once; `label` names the bar.

    On CPU, one process per core, as memory allows; a small model, or one on a GPU, in this process. `workers`: another
    number of processes.
    """
    distinct = {task.folder: task for task in tasks}
    todo = list(distinct.values())
    workers = workers or (_workers(todo[0]) if todo else 1)  # makes what all start from, before they would wait for it
    progress = partial(tqdm, total=len(todo), desc=label, unit="fine-tune")
    if min(workers, len(todo)) < 2:
        results = list(progress(map(compute, todo)))
    else:
        threads = max(1, _cores() // workers)
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
            results = list(progress(pool.map(compute, todo)))
    by_folder = dict(zip(distinct, results, strict=True))
    return [by_folder[task.folder] for task in tasks]


def _workers(task: Task) -> int:
    model, _ = task.base()
    weights = sum(parameter.nbytes for parameter in model.parameters())
    if base_model.device() != "cpu" or model.num_parameters() < SMALLEST:
        return 1
    fitting = psutil.virtual_memory().total // (COPIES * weights + AROUND)
    return int(max(1, min(_cores(), fitting)))


def _cores() -> int:
    """Those that this process may use: of all that share the machine, the one that retrains has the most to do."""
    process = psutil.Process()
    return len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1


def _train(task: Task, split: Split, settings: training.Settings) -> list[Path]:
    epoch = int(steps.train(task, split, settings).epoch.max())
    with task.adapted(epoch) as model:
        batches = example_batches(model, task.base()[1], split.val, task.run.profile.gradient_batch)
        val_losses = evaluate_losses(model, batches)
    file, adapter = task.folder / "losses.safetensors", task.folder / "adapter"
    io.write_tensors(file, {"val": val_losses})
    shutil.rmtree(adapter, ignore_errors=True)
    shutil.copytree(task.checkpoint(epoch), adapter)
    shutil.rmtree(task.folder / "checkpoints")
    return [file, *sorted(adapter.iterdir())]
