"""Examples, their tokens, and batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

IGNORE = -100  # the label that torch's cross-entropy leaves out
LossOn = Literal["response", "all", "padded"]


@dataclass(frozen=True)
class Example:
    """A prompt, the response to it, and the class that decides what counts as influential."""

    prompt: str
    response: str
    label: str


@dataclass(frozen=True)
class Tokens:
    """One example as token ids: the prompt (with the chat template's opening of the answer), then the response."""

    prompt: tuple[int, ...]
    response: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


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

    def to(self, device: torch.device) -> Batch:
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


def tokenise(tokenizer, examples: Sequence[Example], context: int | None = None) -> list[Tokens]:
    """Token ids of each example in the tokenizer's chat format, the response closed by the end-of-turn token.

    Raises ValueError for an empty response and for an example longer than `context` tokens (the model's limit).
    """
    tokens = []
    for index, example in enumerate(examples):
        if not example.response.strip():
            raise ValueError(f"example {index} ({example.prompt[:40]!r}): empty response; every example needs one")
        ids = Tokens(
            tuple(tokenizer(chat(tokenizer, example.prompt), add_special_tokens=False)["input_ids"]),
            (*tokenizer(example.response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id),
        )
        if context is not None and len(ids) > context:
            raise ValueError(
                f"example {index} ({example.prompt[:40]!r}): {len(ids.prompt)} prompt + {len(ids.response)} response "
                f"tokens exceed the context of {context}; shorten it or choose a model with a longer context"
            )
        tokens.append(ids)
    return tokens


def chat(tokenizer, prompt: str) -> str:
    """The text that a chat model is given before it answers `prompt`; the prompt itself where there is no template."""
    if not tokenizer.chat_template:
        return prompt
    turn = {"role": "user", "content": prompt}
    return tokenizer.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)


def batches(
    tokens: Sequence[Tokens],
    batch_size: int = 8,
    pad_id: int = 0,
    loss_on: LossOn = "response",
    length: int | None = None,
) -> list[Batch]:
    """Batches of at most `batch_size` sequences, longest first, so that little is padding.

    The loss of an example is the mean over the tokens of its response; with `loss_on` "all", over all that have one
    before them; with "padded", over those of the sequence padded on the left to `length`, padding included, as in the
    paper's released code. That loss depends on `length`, the longest of `tokens` by default: share one between
    training and validation examples. It also depends on the attention, as a position of padding has nothing to attend
    to: eager averages over the whole sequence there, sdpa gives 0. Raises ValueError for a `length` that is shorter
    than an example.
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
