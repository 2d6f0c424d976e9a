"""Batches of similar length, and which tokens of an example count in its loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from ifcore.examples import Example, Tokens, tokenise

IGNORE = -100  # the label that torch's cross-entropy leaves out
LossOn = Literal["response", "all", "padded"]


@dataclass(frozen=True)
class Batch:
    """Padded sequences. b sequences, T positions.

    `rows` [b]: where each sequence stands in the list of examples; `input_ids`, `attention_mask`, `labels`
    [b, T]: `labels` holds the token at each position whose loss counts and IGNORE elsewhere; `prompt_end` [b]: the
    position of the last prompt token, the one whose hidden state predicts the response.
    """

    rows: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    prompt_end: Tensor

    @property
    def in_prompt(self) -> Tensor:
        """Which positions hold a token of the prompt, [b, T]."""
        places = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        return self.attention_mask.bool() & (places <= self.prompt_end[:, None])

    def singles(self, places: Sequence[int] | None = None) -> Iterator[Batch]:
        """Each sequence, or those at some places, as a batch of its own without padding on the right."""
        for place in range(len(self.rows)) if places is None else places:
            end = int(self.attention_mask[place].nonzero()[-1]) + 1
            row = {name: value[place : place + 1] for name, value in vars(self).items()}
            yield Batch(**{name: value[:, :end] if value.dim() == 2 else value for name, value in row.items()})

    def to(self, device: torch.device) -> Batch:
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


def example_batches(
    model,
    tokenizer,
    examples: Sequence[Example],
    batch_size: int = 8,
    loss_on: LossOn = "response",
    length: int | None = None,
) -> list[Batch]:
    """Batches of `examples` for a model: tokenised, checked against its context, grouped by length.

    `loss_on` and `length` as for `batches`.
    """
    context = getattr(model.config, "max_position_embeddings", None)
    pad = tokenizer.pad_token_id or 0  # any will do: what is padded is masked
    return batches(tokenise(tokenizer, examples, context), batch_size, pad, loss_on, length)


def batches(
    tokens: Sequence[Tokens],
    batch_size: int = 8,
    pad_id: int = 0,
    loss_on: LossOn = "response",
    length: int | None = None,
) -> list[Batch]:
    """Batches of at most `batch_size` sequences, longest first, so that little is padding.

    The loss of an example is the mean over the tokens of its response; with `loss_on` "all", over all that have one
    before them; with "padded", over those of the sequence padded on the left to `length`, padding included, as
    trainers do that mask no labels. That loss depends on `length`, the longest of `tokens` by default: share one
    between training and validation examples. It also depends on the attention, as a position of padding has nothing to
    attend to: eager averages over the whole sequence there, sdpa gives 0. Raises ValueError for a `length` that is
    shorter than an example.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: {batch_size}; at least 1 is needed")
    if loss_on == "padded" and length is None:
        length = max(map(len, tokens), default=0)
    order = sorted(range(len(tokens)), key=lambda i: (-len(tokens[i]), i))
    groups = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return [collate([tokens[i] for i in rows], rows, pad_id, loss_on, length) for rows in groups]


def collate(
    tokens: Sequence[Tokens],
    rows: Sequence[int],
    pad_id: int = 0,
    loss_on: LossOn = "response",
    length: int | None = None,
) -> Batch:
    """One batch of the given sequences, `rows` their places in the list of examples; the rest is as for `batches`.

    Padded to `length`, by default the longest: on the right, with `loss_on` "padded" on the left.
    """
    if loss_on not in get_args(LossOn):
        raise ValueError(f"loss_on: {loss_on!r}; choose one of {', '.join(get_args(LossOn))}")
    longest = max(map(len, tokens))
    width = longest if length is None else length
    if width < longest:
        raise ValueError(f"length: {length}; an example has {longest} tokens, give that or more")
    input_ids = torch.full((len(tokens), width), pad_id)
    attention_mask = torch.zeros(len(tokens), width, dtype=torch.long)
    labels = torch.full((len(tokens), width), IGNORE)
    prompt_end = torch.tensor([len(sequence.prompt) - 1 for sequence in tokens])
    for i, sequence in enumerate(tokens):
        start = width - len(sequence) if loss_on == "padded" else 0
        end = start + len(sequence)
        input_ids[i, start:end] = torch.tensor(sequence.prompt + sequence.response)
        attention_mask[i, start:end] = 1
        prompt_end[i] += start
        first = len(sequence.prompt) if loss_on == "response" else 1  # nothing predicts the very first token
        labels[i, first:end] = input_ids[i, first:end]
    return Batch(torch.tensor(rows), input_ids, attention_mask, labels, prompt_end)
