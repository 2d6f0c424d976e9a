"""Hidden states of the last prompt token, or of others, and their cosine: RepSim."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ifcore.batches import Batch
from ifcore.losses import causal_lm, device_of, evaluating, has_linear_head, hidden_states

Position = Literal["prompt_end", "last", "prompt_mean", "response_mean"]
POSITIONS: tuple[Position, ...] = get_args(Position)


@torch.no_grad()
def representations(model: nn.Module, batches: Iterable[Batch], progress: str = "") -> Tensor:
    """The last layer's hidden state at each example's last prompt token, [N, H] float32 on the CPU.

    That token is where the model decides how to answer: its state predicts the first token of the response, and the
    response itself is not seen. With `progress`, a bar of that name.
    """
    batches = list(batches)
    states = []
    with evaluating(model):
        for batch in tqdm(batches, desc=progress, unit="batch", disable=not progress):
            width = int(batch.prompt_end.max()) + 1  # attention is causal: what follows the prompts changes nothing
            batch = batch.until(width).to(device_of(model))
            states.append(at(hidden_states(model, batch), batch, "prompt_end"))
    return torch.cat(states)[torch.cat([batch.rows for batch in batches]).argsort()]


@contextmanager
def recorded(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the last layer's hidden states [b, T, H] of every forward pass, whoever makes it.

    Gradients need that pass anyway: `at` the prompt's end, what it left is what `representations` would compute again.
    Where `gradients.stream` makes several passes for a batch, the first is that of the whole batch.
    """
    has_linear_head(model)  # finding out takes a pass of its own, once
    seen: list[Tensor] = []
    hook = causal_lm(model).base_model.register_forward_hook(
        lambda _, arguments, output: seen.append(output.last_hidden_state.detach())
    )
    try:
        yield seen
    finally:
        hook.remove()


def at(hidden: Tensor, batch: Batch, position: Position) -> Tensor:
    """The hidden states [b, T, H] of a batch at one position of each example, [b, H] float32 on the CPU.

    `position`: the last token of the prompt ("prompt_end") or of the response ("last"), or the mean over all of the
    prompt ("prompt_mean") or of the response ("response_mean"). Raises ValueError where an example has no token there.
    """
    if position not in POSITIONS:
        raise ValueError(f"position: {position!r}; choose one of {', '.join(POSITIONS)}")
    mask = batch.in_prompt if position.startswith("prompt") else batch.attention_mask.bool() & ~batch.in_prompt
    if not mask.any(1).all():
        row = int(batch.rows[~mask.any(1)][0])
        raise ValueError(f"batch: example {row} has no token for {position}; give it a prompt and a response")
    states = [each[which].float() for each, which in zip(hidden, mask.to(hidden.device), strict=True)]
    return torch.stack([each.mean(0) if position.endswith("mean") else each[-1] for each in states]).cpu()


def repsim(train: Tensor, val: Tensor) -> Tensor:
    """Cosine similarity of hidden states.

    Parameters
    ----------
    train, val : Tensor
        Hidden states [N, H] and [M, H].

    Returns
    -------
    Tensor
        Scores [M, N], float64.

    Raises
    ------
    ValueError
        Where the widths differ, or a state is zero, whose direction is undefined.
    """
    if train.shape[1] != val.shape[1]:
        raise ValueError(f"val: width {val.shape[1]}, train has {train.shape[1]}; take both from the same model")
    for name, states in (("train", train), ("val", val)):
        if not states.any(1).all():
            raise ValueError(f"{name}: row {int((~states.any(1)).nonzero()[0])} is zero; a zero vector has no cosine")
    return nn.functional.normalize(val.double(), dim=1) @ nn.functional.normalize(train.double(), dim=1).T
