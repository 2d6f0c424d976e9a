"""Examples, their tokens, and batches of similar length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

IGNORE = -100  # the label that torch's cross-entropy leaves out


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
    """Right-padded sequences. b sequences, T positions.

    `rows` [b]: where each sequence stands in the list of examples; `input_ids`, `attention_mask`, `labels`
    [b, T]: `labels` holds the token at each response position and IGNORE elsewhere; `prompt_end` [b]: the
    position of the last prompt token, the one whose hidden state predicts the response.
    """

    rows: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    labels: Tensor
    prompt_end: Tensor

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


def batches(tokens: Sequence[Tokens], batch_size: int = 8, pad_id: int = 0) -> list[Batch]:
    """Batches of at most `batch_size` sequences, longest first, so that little is padding."""
    if batch_size < 1:
        raise ValueError(f"batch_size: {batch_size}; at least 1 is needed")
    order = sorted(range(len(tokens)), key=lambda i: (-len(tokens[i]), i))
    return [
        collate([tokens[i] for i in order[start : start + batch_size]], order[start : start + batch_size], pad_id)
        for start in range(0, len(order), batch_size)
    ]


def collate(tokens: Sequence[Tokens], rows: Sequence[int], pad_id: int = 0) -> Batch:
    """One right-padded batch of the given sequences; `rows` are their places in the list of examples."""
    width = max(map(len, tokens))
    input_ids = torch.full((len(tokens), width), pad_id)
    attention_mask = torch.zeros(len(tokens), width, dtype=torch.long)
    labels = torch.full((len(tokens), width), IGNORE)
    for i, sequence in enumerate(tokens):
        start, end = len(sequence.prompt), len(sequence)
        input_ids[i, :end] = torch.tensor(sequence.prompt + sequence.response)
        attention_mask[i, :end] = 1
        labels[i, start:end] = input_ids[i, start:end]
    ends = torch.tensor([len(sequence.prompt) - 1 for sequence in tokens])
    return Batch(torch.tensor(rows), input_ids, attention_mask, labels, ends)
