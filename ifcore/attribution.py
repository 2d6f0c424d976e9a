"""The face: from a fine-tuned model and two lists of examples to scores."""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ifcore import gradient_store as on_disk
from ifcore import gradients, influence, representations, trainable
from ifcore.ekfac import ekfac
from ifcore.examples import Batch, Example
from ifcore.gram import Gram, check_damping
from ifcore.lora import example_batches, uncompiled
from ifcore.rows import by_id

METHODS = (*influence.METHODS, "ekfac", "repsim")
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def attribute(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Example | Mapping[str, Any]],
    val: Sequence[Example | Mapping[str, Any]],
    methods: Sequence[str] = ("datainf", "lissa", "gradsim", "exact", "repsim"),
    *,
    damping: float = 0.1,
    iterations: int = 10,
    batch_size: int = 8,
    memory_budget: str | int = "2GiB",
    store: str | Path | None = None,
    progress: bool = True,
) -> dict[str, pd.DataFrame]:
    """How much each example of `train` matters to the model's loss on each of `val`: method -> scores [M, N].

    `model` wears the adapter that was fine-tuned on `train`. Examples are `Example`s, or dictionaries with `prompt` and
    `response` or with `messages`; their `id`s, else their places, are the labels of a frame's rows (val) and columns
    (train). Higher = more influential; but for RepSim, by a positive score a training example lowers the loss.

    `methods` are some of `METHODS`, `damping` and the `iterations` of LiSSA as `influence` has them. With `store`, the
    gradients go to that folder, and a killed call goes on from there; without, to a temporary one, where they take more
    than half of `memory_budget` (bytes, or a text such as "2GiB"); EK-FAC's factors, of which a wide model has as much,
    take a quarter of it at a time, and a pass over `train` each time. Under `torchrun` (or `accelerate launch`) each
    process does its share of the batches; `store` is then needed, and every process has the scores.

    Raises ValueError, in one line, for what can't be attributed: see `records.by_id`, `examples.tokenise`,
    `trained.parameters` and `gradients.stream`.
    """
    budget, methods = _bytes(memory_budget), tuple(dict.fromkeys([methods] if isinstance(methods, str) else methods))
    if unknown := [name for name in methods if name not in METHODS]:
        raise ValueError(f"methods: {unknown[0]!r}; choose from {', '.join(METHODS)}")
    if not methods:
        raise ValueError(f"methods: none; choose from {', '.join(METHODS)}")
    check_damping(damping)
    if iterations < 0:
        raise ValueError(f"iterations: {iterations}; must be 0 or more")
    rows = {"train": by_id(train, "train"), "val": by_id(val, "val")}
    batches = {part: _batches(model, tokenizer, each, batch_size, part) for part, each in rows.items()}
    if "ekfac" in methods and (
        odd := trainable.trainable_parameters(model).keys() - trainable.adapted_linears(model).keys()
    ):
        raise ValueError(f"methods: ekfac knows linear maps alone, and the adapter trains {min(odd)}; leave it out")
    summed = [method for method in methods if method in influence.METHODS]
    groups = _groups(model, budget // 4) if "ekfac" in methods else []
    scores: dict[str, torch.Tensor] = {}
    if methods == ("repsim",):
        if getattr(uncompiled(model), "peft_config", None):  # else a model by itself, which has states, too
            trainable.trainable_parameters(model)
        states = [representations.representations(model, each, _bar(part, progress)) for part, each in batches.items()]
        scores["repsim"] = representations.repsim(*states)
    else:
        with _collected(model, batches, budget, store, progress, groups) as (of, states, factors):
            if summed:
                grams = Gram.by_block(of["train"], of["val"], budget // 8)
                scores = influence.summed(grams, summed, damping, iterations)
            for group in groups:
                if not factors:
                    passes = gradients.stream(model, batches["train"], _bar("factors", progress), factors, group)
                    deque(passes, maxlen=0)
                parts = ({block: of[part][block] for block in group} for part in ("train", "val"))
                added = ekfac(*parts, factors, damping)
                scores["ekfac"] = scores["ekfac"] + added if "ekfac" in scores else added
                factors.clear()
            if "repsim" in methods:
                scores["repsim"] = representations.repsim(states["train"], states["val"])
    index, columns = (pd.Index(list(rows[part]), name=part) for part in ("val", "train"))
    return {method: pd.DataFrame(scores[method].cpu().numpy(), index, columns) for method in methods}


@contextmanager
def _collected(
    model: nn.Module,
    batches: Mapping[str, list[Batch]],
    budget: int,
    folder: str | Path | None,
    progress: bool,
    groups: Sequence[Sequence[str]],
) -> Iterator[tuple[dict[str, Mapping], dict[str, torch.Tensor], gradients.Factors]]:
    """Gradients and hidden states of each part, in memory or on disk, and EK-FAC's factors of the first group.

    No factors where gradients go to disk: a store has none, as they may be as large, so each group has its own pass.
    """
    share = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if share[1] > 1 and folder is None:
        raise ValueError(f"store: none, for {share[1]} processes; name a folder that all of them see")
    size = 4 * sum(each.numel() for each in trainable.trainable_parameters(model).values())
    size *= sum(len(batch.rows) for each in batches.values() for batch in each)
    if folder is None and size <= budget // 2:
        of, states, factors = {}, {}, {}
        for part, each in batches.items():
            wanted = (factors, groups[0]) if groups and part == "train" else (None, None)
            of[part], states[part] = _in_memory(model, each, _bar(part, progress), *wanted)
        yield of, states, factors
        return
    wait = _barrier() if share[1] > 1 else lambda: None
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        for part, each in batches.items():
            on_disk.write(Path(place) / part, model, each, _bar(part, progress), share)
        wait()
        stores = {part: on_disk.read(Path(place) / part, model, each) for part, each in batches.items()}
        yield stores, {part: each.hidden() for part, each in stores.items()}, {}
        wait()  # whoever comes first may remove the folder


def _in_memory(
    model: nn.Module,
    batches: list[Batch],
    label: str,
    factors: gradients.Factors | None,
    factored: Sequence[str] | None,
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    states = []

    def pieces() -> Iterator[dict[str, torch.Tensor]]:
        computed = gradients.with_states(model, batches, label, factors, factored)
        for batch, (rows, hidden) in zip(batches, computed, strict=True):
            states.append(representations.at(hidden, batch, "prompt_end"))
            yield rows

    of = gradients.gather(batches, pieces())
    return of, torch.cat(states)[torch.cat([batch.rows for batch in batches]).argsort()]


def _groups(model: nn.Module, room: int) -> list[list[str]]:
    """The blocks, as many at a time as have EK-FAC's factors within `room` bytes; one, if it takes more by itself."""
    groups: list[list[str]] = []
    left = 0
    for block, linear in trainable.adapted_linears(model).items():
        size = 4 * (linear.in_features**2 + linear.out_features**2)
        if size > left:
            groups.append([])
            left = room
        groups[-1].append(block)
        left -= size
    return groups


def _batches(model: nn.Module, tokenizer, rows: Mapping[Any, Example], size: int, part: str) -> list[Batch]:
    try:
        return example_batches(model, tokenizer, list(rows.values()), size)
    except ValueError as error:
        raise ValueError(f"{part}: {error}") from None


def _barrier() -> Callable[[], None]:
    """What waits until every process is there; it raises RuntimeError where one has died."""
    from accelerate import PartialState  # takes a second, and none of it is needed by a process alone

    state = PartialState(cpu=True, timeout=timedelta(days=7))  # shares may take very different times

    def wait() -> None:
        try:
            state.wait_for_everyone()
        except RuntimeError as error:
            raise RuntimeError("another process has died, see its error; start again: what is done is kept") from error

    return wait


def _bar(part: str, progress: bool) -> str:
    return f"gradients {part}" if progress else ""


def _bytes(size: str | int) -> int:
    """The bytes that a number or a text such as `2GiB`, `500 MB` or `1e9` says; MB and MiB are both 2²⁰."""
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", str(size), re.IGNORECASE)
    if not found or not 0 < (count := float(found[1])) < math.inf:
        raise ValueError(f"memory_budget: {size!r}; give bytes, or a text such as '2GiB'")
    return int(count * UNITS[found[2].upper()])
