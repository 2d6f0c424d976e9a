"""What a fine-tune without some training examples, or from another seed, does.

Of its adapters only the last is kept: there are many of them, and one an epoch would fill the disk.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable, Sequence
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

from ifcore import io, lora, training
from study.datasets import Split
from study.pipeline import answers, attributions, base_model, steps
from study.pipeline.stages import Stage, digest_in, locked_folder
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
        _retrain(task, split)
    return load_file(task.folder / "losses.safetensors")["val"].numpy()


def behaviour(task: Task) -> tuple[np.ndarray, list[str]]:
    """The losses, and the answers to the validation prompts."""
    split = attributions.examples(task)
    with locked_folder(task.folder):
        _retrain(task, split)
        key = {"of": digest_in(task.folder, "losses"), "max_new_tokens": task.run.profile.max_new_tokens}
        Stage(task.folder, "answers", key).make(partial(_say, task, split))
    lost = load_file(task.folder / "losses.safetensors")["val"].numpy()
    return lost, io.read_json(task.folder / "answers-given.json")["answers"]


def map_tasks(
    compute: Callable[[Task], Result], tasks: Sequence[Task], label: str, workers: int | None = None
) -> list[Result]:
    """`losses` or `behaviour` of each task, in the order given, each distinct task once; `label` names the bar.

    On a processor as many at a time, in processes of their own, as it has cores and its memory holds; a small model,
    or one on a graphics card, one at a time. `workers`: another number of processes.
    """
    distinct = {task.folder: task for task in tasks}
    wanted = list(distinct.values())
    workers = workers or (_workers(wanted[0]) if wanted else 1)  # with what all start from made once, before they wait
    if min(workers, len(wanted)) < 2:
        found = list(_counted(map(compute, wanted), wanted, label))
    else:
        threads = max(1, _cores() // workers)
        context = get_context("spawn")
        with ProcessPoolExecutor(workers, context, initializer=torch.set_num_threads, initargs=(threads,)) as pool:
            found = list(_counted(pool.map(compute, wanted), wanted, label))
    at = dict(zip(distinct, found, strict=True))
    return [at[task.folder] for task in tasks]


def _workers(task: Task) -> int:
    model, _ = task.base()
    weights = sum(parameter.nbytes for parameter in model.parameters())
    if base_model.device() != "cpu" or model.num_parameters() < SMALLEST:
        return 1
    held = psutil.virtual_memory().total // (COPIES * weights + AROUND)
    return int(max(1, min(_cores(), held)))


def _cores() -> int:
    """That this process may use: of those that share the machine, whichever retrains has the most to do."""
    return len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else psutil.cpu_count()


def _counted(results: Iterable[Result], wanted: Sequence[Task], label: str) -> Iterable[Result]:
    return tqdm(results, total=len(wanted), desc=label, unit="fine-tune")


def _retrain(task: Task, split: Split) -> None:
    key = steps.determined_by(task, split) | {
        "val": [dataclasses.astuple(example) for example in split.val],
        "batch": task.run.profile.gradient_batch,
    }
    stage = Stage(task.folder, "losses", key, [task.folder / "checkpoints"])
    stage.make(partial(_without, task, split, steps.training_settings(task)))


def _without(task: Task, split: Split, how: training.Settings) -> list[Path]:
    epoch = int(steps.train(task, split, how).epoch.max())
    file, last = task.folder / "losses.safetensors", task.checkpoint(epoch)
    io.write_tensors(file, {"val": _lose(task, split, epoch)})
    adapter = task.folder / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)
    shutil.copytree(last, adapter)
    shutil.rmtree(task.folder / "checkpoints")
    return [file, *sorted(adapter.iterdir())]


def _lose(task: Task, split: Split, epoch: int) -> torch.Tensor:
    """The loss of each validation example at a checkpoint, [M]."""
    with task.adapted(epoch) as model:
        batches = lora.example_batches(model, task.base()[1], split.val, task.run.profile.gradient_batch)
        return lora.losses(model, batches)


def _say(task: Task, split: Split) -> list[Path]:
    prompts, file = [example.prompt for example in split.val], task.folder / "answers-given.json"
    model, tokenizer = task.base()
    with lora.adapted(model, task.folder / "adapter") as model, lora.merged(model):
        label = f"answers {task.name}"
        said = answers.generate(model, tokenizer, prompts, task.run.profile.max_new_tokens, progress=label)
    io.write_json(file, {"answers": said})
    return [file]
