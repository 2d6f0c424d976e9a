"""What an attribution will take of disk, memory and time, said before its first batch."""

import shutil
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil
import torch

from ifcore import trainable
from ifcore.batches import Batch
from ifcore.losses import device_of, evaluating, example_losses
from ifcore.projection import Projection

UNITS = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
SECONDS = ((5400, 3600, "hours"), (90, 60, "minutes"), (0, 1, "seconds"))


Parts = Mapping[str, Sequence[Batch]]


def check_disk(model: Any, parts: Parts, folder: Path, projection: Projection | None = None) -> None:
    """Raise ValueError where the disk of `folder` can't hold the gradients of all batches that aren't there yet."""
    row, rows = _row(model, projection), _rows(parts)
    needed, free = row * rows * (1 - _share_made(parts, folder)), _disk(folder)
    if needed > free:
        raise ValueError(
            f"store: the gradients of {rows:,} rows take {size(row)} each, {size(needed)} in {folder}, where "
            f"{size(free)} are free; choose another disk, or fewer rows"
        )


def forecast(
    model: Any,
    parts: Parts,
    folder: Path | None,
    budget: int,
    processes: int = 1,
    projection: Projection | None = None,
) -> str:
    """The disk (where there is a `folder`), memory and time that the gradients of all batches take, in a sentence.

    The time is that of one batch, tried; what a folder holds already is not counted.
    """
    row, rows = _row(model, projection), _rows(parts)
    largest = max(len(batch.rows) for part in parts.values() for batch in part)
    held, free = row * rows, psutil.virtual_memory().available
    memory = 2 * row * largest + (min(budget, held) if folder else held)
    place = f"{size(held)} on disk, " if folder else ""
    tight = f", and {size(free)} are free: lower memory_budget or batch_size" if memory > free else ""
    batches = [*chain.from_iterable(parts.values())]
    tokens = (1 - _share_made(parts, folder)) * sum(batch.input_ids.numel() for batch in batches)
    seconds = tokens * seconds_a_token(model, batches) / processes
    return f"gradients: {size(row)} a row, {place}{size(memory)} of memory{tight}, about {duration(seconds)}"


def gradient_bytes(model: Any, parts: Parts, projection: Projection | None = None) -> int:
    """Of all rows' gradients."""
    return _row(model, projection) * _rows(parts)


def size(count: float) -> str:
    """Bytes, as they are said."""
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} bytes"


def duration(seconds: float) -> str:
    """Rounded, as it is said."""
    unit, name = next((unit, name) for least, unit, name in SECONDS if seconds >= least)
    return f"{seconds / unit:.2g} {name}"


def _row(model: Any, projection: Projection | None) -> int:
    """Bytes of one row's gradients, as they are kept."""
    sizes = [parameter.numel() for parameter in trainable.trainable_parameters(model).values()]
    return 4 * sum(sizes if projection is None else (min(size, projection.dimensions) for size in sizes))


def _rows(parts: Parts) -> int:
    return sum(len(batch.rows) for part in parts.values() for batch in part)


def _share_made(parts: Parts, folder: Path | None) -> float:
    """The share of the batches that a folder holds already, as `gradient_store` names them."""
    if folder is None:
        return 0.0
    files = [folder / part / f"{number:06d}.json" for part, of_part in parts.items() for number in range(len(of_part))]
    return sum(file.is_file() for file in files) / len(files)


def _disk(folder: Path) -> int:
    """Bytes free where a folder is or will be."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free


def seconds_a_token(model: Any, batches: Sequence[Batch]) -> float:
    """Of a pass forward and backward, by a batch of the middle; twice, since the first time warms up."""
    parameters = trainable.trainable_parameters(model)
    batch = sorted(batches, key=lambda batch: batch.input_ids.numel())[len(batches) // 2].to(device_of(model))
    took = 0.0
    with evaluating(model), trainable.requiring_grad(parameters):
        for _ in range(2):
            start = perf_counter()
            loss = example_losses(model, batch).sum()
            torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)[0]
            took = perf_counter() - start
    return took / batch.input_ids.numel()
