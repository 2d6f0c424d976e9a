"""Examples, their tokens, and batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jinja2 import TemplateError
from torch import Tensor

IGNORE = -100  # the label that torch's cross-entropy leaves out
LossOn = Literal["response", "all", "padded"]


@dataclass(frozen=True)
class Example:
    """A prompt, the response to it, and the class that decides what counts as influential.

    The prompt is what a user says, or all turns before the response, each a (role, content).
    """

    prompt: str | tuple[tuple[str, str], ...]
    response: str
    label: str = ""


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

    def singles(self, places: Sequence[int] | None = None) -> Iterator[Batch]:
        """Each sequence, or those at some places, as a batch of its own without padding on the right."""
        for place in range(len(self.rows)) if places is None else places:
            end = int(self.attention_mask[place].nonzero()[-1]) + 1
            row = {name: value[place : place + 1] for name, value in vars(self).items()}
            yield Batch(**{name: value[:, :end] if value.dim() == 2 else value for name, value in row.items()})

    def to(self, device: torch.device) -> Batch:
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


def tokenise(tokenizer, examples: Sequence[Example], context: int | None = None) -> list[Tokens]:
    """Token ids of each example in the tokenizer's chat format, the response closed by what ends a turn there.

    Raises ValueError for an empty response, a prompt without a token, an example longer than `context` tokens (the
    model's limit), one that the chat template refuses, and as `end_of_turn` and `chat` do.
    """
    tokens, end = [], end_of_turn(tokenizer)
    for index, example in enumerate(examples):
        about = f"example {index} ({str(example.prompt)[:40]!r})"
        if not example.response.strip():
            raise ValueError(f"{about}: empty response; every example needs one")
        try:
            said = chat(tokenizer, example.prompt)
        except TemplateError as error:
            raise ValueError(f"{about}: the chat template refuses it ({error})") from None
        ids = Tokens(
            tuple(tokenizer(said, add_special_tokens=False)["input_ids"]),
            (*tokenizer(example.response, add_special_tokens=False)["input_ids"], end),
        )
        if not ids.prompt:
            raise ValueError(f"{about}: empty prompt; without a chat template nothing would predict the response")
        if context is not None and len(ids) > context:
            raise ValueError(
                f"{about}: {len(ids.prompt)} prompt + {len(ids.response)} response "
                f"tokens exceed the context of {context}; shorten it or choose a model with a longer context"
            )
        tokens.append(ids)
    return tokens


def chat(tokenizer, prompt: str | tuple[tuple[str, str], ...]) -> str:
    """The text that a chat model is given before it answers `prompt`; the prompt itself where there is no template.

    Raises ValueError for a prompt of several turns without a template.
    """
    if not tokenizer.chat_template:
        if isinstance(prompt, str):
            return prompt
        raise ValueError("tokenizer: it has no chat template for prompts of several turns; set tokenizer.chat_template")
    turns = [("user", prompt)] if isinstance(prompt, str) else prompt
    messages = [{"role": role, "content": content} for role, content in turns]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def end_of_turn(tokenizer) -> int:
    """The token that closes a response: the first special one after it in the chat template, else the end of text.

    Raises ValueError for a tokenizer that has neither.
    """
    if tokenizer.chat_template:
        text = "forty-two"
        turns = [{"role": "user", "content": text}, {"role": "assistant", "content": text}]
        after = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(text)[2]
        special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
        closing = tokenizer(after, add_special_tokens=False)["input_ids"]
        if ends := [token for token in closing if token in special]:
            return ends[0]
    if tokenizer.eos_token_id is None:
        raise ValueError("tokenizer: it has no token that ends a response; set tokenizer.eos_token")
    return tokenizer.eos_token_id


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
