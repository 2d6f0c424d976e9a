"""From a fine-tuned model and two lists of examples to scores, in one call."""

import math
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from functools import reduce
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from ifcore import gradient_store, gradients, representations, trainable
from ifcore.batches import Batch, batches
from ifcore.ekfac import block_groups, ekfac, gather_factors
from ifcore.examples import Given, Row, Tokens
from ifcore.explain_loss import explain
from ifcore.forecast import check_disk, forecast, gradient_bytes
from ifcore.gram import Gram
from ifcore.losses import causal_lm, device_of, evaluating, example_losses, uncompiled
from ifcore.methods import DEFAULT, OF_GRAM, check_methods, gram_scores
from ifcore.rows import by_id
from ifcore.tokens import Loss, LossOn, Reduction, Side, tokenise_rows

STATES: representations.Position = "prompt_end"  # where RepSim reads them
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

Rows = Iterable[Given | Mapping[str, Any] | Row]


def attribute(
    model: nn.Module,
    tokenizer: PreTrainedTokenizerBase,
    train: Rows,
    val: Rows,
    methods: Sequence[str] = DEFAULT,
    *,
    damping: float = 0.1,
    iterations: int = 10,
    batch_size: int = 8,
    loss_on: LossOn = "auto",
    reduction: Reduction = "mean",
    max_length: int | None = None,
    truncation_side: Side = "right",
    chat_template: str = "auto",
    date: str | None = None,
    skip_empty: bool = False,
    memory_budget: str | int = "2GiB",
    store: str | Path | None = None,
    progress: bool = True,
) -> dict[str, pd.DataFrame]:
    """Score how much each training example matters to the model's loss on each validation example.

    Under `torchrun` (or `accelerate launch`) each process computes its share of the batches; `store` is then needed,
    and every process returns the scores.

    Parameters
    ----------
    model : nn.Module
        The model with the active adapter that was fine-tuned on `train`.
    tokenizer : PreTrainedTokenizerBase
        That of the fine-tune, with its chat template.
    train, val : list, Dataset or DataFrame
        N and M examples: dictionaries in one of the formats of `rows.FORMATS`, with an `id` if they like, or `Example`.
        With `input_ids` and `labels` they are taken as they are, to the token; what becomes of any other format is
        said before it is computed.
    methods : sequence of str
        Keys of `methods.METHODS` that need no checkpoints.
    damping : float
        λ_b relative to the mean squared gradient of a block.
    iterations : int
        Of LiSSA.
    batch_size : int
        Sequences at a time.
    loss_on, reduction, max_length, truncation_side, chat_template, date
        The loss that was trained, as `tokens.Loss` has it; by default the mean over the last answer's or completion's
        tokens, or all of a text's.
    skip_empty : bool
        Whether to leave out the rows that have nothing in their loss, rather than refuse them.
    memory_budget : str or int
        Bytes, or a text such as "2GiB". Gradients that take more than half of it go to a temporary folder; EK-FAC's
        factors, as large for a wide model, take a quarter at a time and a pass over `train` each time.
    store : str or Path, optional
        A folder for the gradients, from which a killed call goes on.
    progress : bool
        Whether to show progress bars.

    Returns
    -------
    dict of str to DataFrame
        Method -> scores [M, N], rows val and columns train by id, else by place. Higher = more influential; but for
        RepSim, a training example with a positive score lowers the loss.

    Raises
    ------
    ValueError
        In one line, for what can't be attributed: see `rows.by_id`, `tokens.tokenise`,
        `trainable.trainable_parameters` and `gradients.stream`.
    """
    budget, keys = _bytes(memory_budget), check_methods(methods, damping, iterations)
    loss = Loss(loss_on, reduction, max_length, truncation_side, chat_template, date)
    rows = {"train": by_id(train, "train"), "val": by_id(val, "val")}
    tokens = {part: _tokens(model, tokenizer, of, loss, skip_empty, part) for part, of in rows.items()}
    if progress:
        print(explain(tokenizer, rows, tokens, loss), file=sys.stderr)
    parts = {part: batches(list(of.values()), batch_size, tokenizer.pad_token_id) for part, of in tokens.items()}
    groups = block_groups(model, budget // 4) if "ekfac" in keys else []
    if keys == ("repsim",):
        scores = {"repsim": _repsim(model, parts, progress)}
    else:
        with _gradients(model, parts, budget, store, progress, groups) as (per_example, states, factors):
            grams = Gram.by_block(per_example["train"], per_example["val"], budget // 8)
            scores = gram_scores(grams, [key for key in keys if key in OF_GRAM], damping, iterations)
            if groups:
                scores["ekfac"] = _ekfac(model, parts["train"], per_example, groups, factors, damping, progress)
            if "repsim" in keys:
                scores["repsim"] = representations.repsim(states["train"], states["val"])
    index, columns = (pd.Index(list(tokens[part]), name=part) for part in ("val", "train"))
    return {key: pd.DataFrame(scores[key].cpu().numpy(), index, columns) for key in keys}


def _repsim(model: nn.Module, batches: Mapping[str, list[Batch]], progress: bool) -> Tensor:
    """RepSim alone, which takes no gradients."""
    if getattr(uncompiled(model), "peft_config", None):  # else a model by itself, which has states, too
        trainable.trainable_parameters(model)
    first = batches["train"][0].to(device_of(model))
    with evaluating(model), torch.no_grad():
        gradients.check_loss(model, first, example_losses(model, first))
    train, val = (representations.representations(model, batches[p], _bar(p, progress)) for p in ("train", "val"))
    return representations.repsim(train, val)


def _ekfac(
    model: nn.Module,
    batches: list[Batch],
    per_example: Mapping[str, Mapping[str, Tensor]],
    groups: Sequence[Sequence[str]],
    factors: gradients.Factors,
    damping: float,
    progress: bool,
) -> Tensor:
    """EK-FAC's scores, a group of blocks at a time; `factors` are those of the first group, or empty."""
    totals: list[Tensor] = []
    for group in groups:
        factors = factors or gather_factors(model, batches, _bar("factors", progress), group)
        train, val = ({block: per_example[part][block] for block in group} for part in ("train", "val"))
        totals.append(ekfac(train, val, factors, damping))
        factors.clear()  # as large as the gradients
    return reduce(torch.add, totals)


@contextmanager
def _gradients(
    model: nn.Module,
    batches: Mapping[str, list[Batch]],
    budget: int,
    folder: str | Path | None,
    progress: bool,
    groups: Sequence[Sequence[str]],
) -> Iterator[tuple[dict[str, Mapping], dict[str, Tensor], gradients.Factors]]:
    """Gradients and hidden states of each part, in memory or on disk, and EK-FAC's factors of the first group.

    No factors where gradients go to disk: a store has none, as they may be as large, so each group has its own pass.
    """
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if processes > 1 and folder is None:
        raise ValueError(f"store: none, for {processes} processes; name a folder that all of them see")
    if folder is None and gradient_bytes(model, batches) <= budget // 2:
        if progress:
            print(forecast(model, batches, None, budget), file=sys.stderr)
        factors = gradients.Factors(groups[0] if groups else ())
        train = _in_memory(model, batches["train"], _bar("train", progress), factors)
        val = _in_memory(model, batches["val"], _bar("val", progress), None)
        yield {"train": train[0], "val": val[0]}, {"train": train[1], "val": val[1]}, factors
        return
    wait = barrier() if processes > 1 else lambda: None
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as place:
        check_disk(model, batches, Path(place))
        if progress:
            print(forecast(model, batches, Path(place), budget, processes), file=sys.stderr)
        for part in batches:
            share = rank, processes
            gradient_store.write(Path(place) / part, model, batches[part], _bar(part, progress), share, [STATES])
        wait()
        stores = {part: gradient_store.read(Path(place) / part, model, batches[part], [STATES]) for part in batches}
        yield dict(stores), {part: store.beside(STATES) for part, store in stores.items()}, gradients.Factors()
        wait()  # whoever comes first may remove the folder


def _in_memory(
    model: nn.Module, batches: list[Batch], label: str, factors: gradients.Factors | None
) -> tuple[dict[str, Tensor], Tensor]:
    """Block -> gradients [N, P_b], and the hidden states [N, H], of one pass."""
    pairs = zip(batches, gradients.stream(model, batches, label, factors), strict=True)
    pieces = (
        computed.gradients | {STATES: representations.at(computed.hidden, batch, STATES)} for batch, computed in pairs
    )
    per_example = gradients.gather(batches, pieces)
    return per_example, per_example.pop(STATES)


def _tokens(
    model: nn.Module, tokenizer: Any, rows: Mapping[Any, Row], loss: Loss, skip_empty: bool, part: str
) -> dict[Any, Tokens]:
    """Id -> tokens, each of which the model has an embedding for."""
    context = getattr(uncompiled(model).config, "max_position_embeddings", None)
    tokens = tokenise_rows(tokenizer, rows.values(), context, loss, skip_empty)
    if not tokens:
        raise ValueError(f"{part}: no row with anything in its loss; give one or more")
    embeddings: Any = causal_lm(model).get_input_embeddings()
    known = embeddings.weight.shape[0]
    for identity, one in tokens.items():
        if (largest := max(*one.ids, *one.labels)) >= known:
            raise ValueError(
                f"{rows[identity].about}: token {largest}, and the model has {known}; give the tokenizer of the "
                "fine-tune, and a model with as many embeddings"
            )
    return tokens


def barrier() -> Callable[[], None]:
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
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", str(size), re.IGNORECASE)
    if not match or not 0 < (count := float(match[1])) < math.inf:
        raise ValueError(f"memory_budget: {size!r}; give bytes, or a text such as '2GiB'")
    return int(count * UNITS[match[2].upper()])
