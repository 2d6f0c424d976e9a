"""Batches of similar length, padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ifcore.examples import IGNORE, Given, Tokens
from ifcore.tokens import Loss, tokenise


@dataclass(frozen=True)
class Batch:
    """Padded sequences. b sequences, T positions.

    `rows` [b]: where each sequence stands in the list of examples; `input_ids`, `attention_mask`, `labels`
    [b, T]: `labels` holds the token at each position whose loss counts and IGNORE elsewhere; `prompt_end` [b]: the
    position of the last prompt token, the one whose hidden state predicts the answer; `weights` [b]: what the mean of a
    sequence's losses is multiplied with; `position_ids` [b, T]: as given, else None. Not `is_masked`: the model tells
    by the positions which tokens see which, as of packed sequences, and is not given the mask.
    """

    rows: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    prompt_end: Tensor
    weights: Tensor
    position_ids: Tensor | None = None
    is_masked: bool = True

    def inputs(self) -> dict[str, Tensor]:
        """What the model is given."""
        given = {"input_ids": self.input_ids}
        if self.is_masked:
            given["attention_mask"] = self.attention_mask
        if self.position_ids is not None:
            given["position_ids"] = self.position_ids
        return given

    @property
    def in_prompt(self) -> Tensor:
        """Which positions hold a token of the prompt, [b, T]."""
        places = torch.arange(self.input_ids.shape[1], device=self.input_ids.device)
        return self.attention_mask.bool() & (places <= self.prompt_end[:, None])

    def singles(self, places: Sequence[int] | None = None) -> Iterator[Batch]:
        """Each sequence, or those at some places, as a batch of its own, without what is padding and in no loss."""
        needed = self.attention_mask.bool() | (self.labels != IGNORE)
        for place in range(len(self.rows)) if places is None else places:
            end = int(needed[place].nonzero()[-1]) + 1
            yield replace(self, **{name: value[place : place + 1] for name, value in self.tensors().items()}).until(end)

    def until(self, width: int) -> Batch:
        """The first positions of each sequence."""
        return replace(self, **{name: value[:, :width] for name, value in self.tensors().items() if value.dim() == 2})

    def to(self, device: torch.device) -> Batch:
        return replace(self, **{name: value.to(device) for name, value in self.tensors().items()})

    def tensors(self) -> dict[str, Any]:
        """Those that there are, by name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}


def example_batches(
    model, tokenizer, examples: Sequence[Given], batch_size: int = 8, loss: Loss | None = None
) -> list[Batch]:
    """Batches of `examples` for a model: tokenised for a `loss`, checked against its context, grouped by length."""
    context = getattr(model.config, "max_position_embeddings", None)
    return batches(tokenise(tokenizer, examples, context, loss), batch_size, tokenizer.pad_token_id)


def batches(tokens: Sequence[Tokens], batch_size: int = 8, pad_id: int | None = None) -> list[Batch]:
    """Batches of at most `batch_size` sequences, longest first, so that little is padding.

    The loss of an example is the mean over its labelled tokens, times its weight. `pad_id`: any will do, as what is
    padded is masked.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size: {batch_size}; at least 1 is needed")
    order = sorted(range(len(tokens)), key=lambda i: (_is_packed(tokens[i]), -len(tokens[i]), i))
    groups: list[list[int]] = []
    for place in order:
        if (
            not groups
            or len(groups[-1]) == batch_size
            or _is_packed(tokens[groups[-1][0]]) != _is_packed(tokens[place])
        ):
            groups.append([])
        groups[-1].append(place)
    return [collate([tokens[i] for i in rows], rows, pad_id) for rows in groups]


def collate(tokens: Sequence[Tokens], rows: Sequence[int], pad_id: int | None = None) -> Batch:
    """One batch of the given sequences, padded on the right, `rows` their places in the list of examples.

    Raises ValueError where some are packed, with positions and no mask, and others not.
    """
    if len(set(map(_is_packed, tokens))) > 1:
        raise ValueError("tokens: some have position_ids and no attention_mask, others not; batch them apart")
    width, is_packed = max(len(sequence.ids) for sequence in tokens), _is_packed(tokens[0])
    input_ids = torch.full((len(tokens), width), pad_id or 0)
    attention_mask = torch.zeros(len(tokens), width, dtype=torch.long)
    labels = torch.full((len(tokens), width), IGNORE)
    position_ids = torch.zeros(len(tokens), width, dtype=torch.long)
    for i, sequence in enumerate(tokens):
        end = len(sequence.ids)
        input_ids[i, :end] = torch.tensor(sequence.ids)
        attention_mask[i, :end] = torch.tensor(sequence.attention_mask or [1] * end)
        labels[i, 1:end] = torch.tensor(sequence.labels[1:])  # nothing predicts the very first token
        position_ids[i, :end] = torch.tensor(sequence.position_ids or range(end))
        position_ids[i, end:] = torch.arange(width - end)  # padding is a sequence of its own
    return Batch(
        torch.tensor(rows),
        input_ids,
        attention_mask,
        labels,
        torch.tensor([sequence.answer - 1 for sequence in tokens]),
        torch.tensor([sequence.weight for sequence in tokens], dtype=torch.float64),
        None if all(sequence.position_ids is None for sequence in tokens) else position_ids,
        not is_packed,
    )


def _is_packed(tokens: Tokens) -> bool:
    """Whether positions alone say which tokens see which."""
    return tokens.position_ids is not None and tokens.attention_mask is None
