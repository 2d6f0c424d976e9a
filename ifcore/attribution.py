"""From a fine-tuned model and two lists of examples to scores, in one call."""

import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from torch import nn
from transformers import PreTrainedTokenizerBase

from ifcore.ekfac import block_groups
from ifcore.explain_loss import explain
from ifcore.gradients import Factors
from ifcore.inputs import Inputs, barrier, process_share
from ifcore.methods import DEFAULT, check_inputs, check_methods, compute_scores
from ifcore.parts import Rows, tokenise_parts
from ifcore.projection import Projection
from ifcore.tokens import Loss, LossOn, Reduction, Side

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


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
    checkpoints: str | Path | None = None,
    projection: int | None = None,
    memory_budget: str | int = "2GiB",
    store: str | Path | None = None,
    progress: bool = True,
) -> dict[str, pd.DataFrame]:
    """Score how much each training example matters to the model's loss on each validation example.

    Under `torchrun` (or `accelerate launch`) each process computes its share of the gradients; what a method needs
    beside these, each computes by itself. `store` is then needed, and every process returns the scores.

    Parameters
    ----------
    model : nn.Module
        The model with the active adapter that was fine-tuned on `train`.
    tokenizer : PreTrainedTokenizerBase
        That of the fine-tune, with its chat template.
    train, val : list, Dataset or DataFrame
        N and M examples: dictionaries in one of the formats of `rows.FORMATS`, with an `id` if they like, or `Example`.
        With `input_ids` and `labels` they are taken as they are, to the token; what becomes of any other format is
        said before it is computed. One of val may hold a response against another (`chosen` and `rejected`, or
        `rejected` beside its response): what is explained is then the loss of the one less that of the other.
    methods : sequence of str
        Keys of `methods.METHODS`; some need `checkpoints`.
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
    checkpoints : str or Path, optional
        The folder of those of the fine-tune, for the methods that need them: see `checkpoints.read_checkpoints`.
    projection : int, optional
        To how many numbers, a power of 2, the gradient of each parameter is projected that is larger; by default none
        is. A dot product is then off by at most 1.96 √(2/projection) of the two lengths in 95 % of cases.
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
    keys, budget = check_methods(methods, damping, iterations, checkpoints, projection), memory_bytes(memory_budget)
    loss = Loss(loss_on, reduction, max_length, truncation_side, chat_template, date)
    parts = tokenise_parts(model, tokenizer, train, val, loss, skip_empty)
    if progress:
        print(explain(tokenizer, parts.rows, parts.tokens, loss), file=sys.stderr)
    inputs = Inputs(
        model,
        parts.sequences,
        tokenizer.pad_token_id,
        batch_size,
        budget,
        None if store is None else Path(store),
        parts.rejected,
        None if checkpoints is None else Path(checkpoints),
        None if projection is None else Projection(projection),
        Factors(block_groups(model, budget // 4)[0] if "ekfac" in keys else ()),
        progress,
    )
    check_inputs(keys, inputs)
    scores = compute_scores(inputs, keys, damping, iterations)
    if process_share()[1] > 1:
        barrier()()  # whoever comes first may remove the folder
    return {key: parts.frame(values.cpu().numpy()) for key, values in scores.items()}


def memory_bytes(size: str | int) -> int:
    """The bytes that a number or a text such as `2GiB`, `500 MB` or `1e9` says; MB and MiB are both 2²⁰."""
    match = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", str(size), re.IGNORECASE)
    if not match or not 0 < (count := float(match[1])) < math.inf:
        raise ValueError(f"memory_budget: {size!r}; give bytes, or a text such as '2GiB'")
    return int(count * UNITS[match[2].upper()])
