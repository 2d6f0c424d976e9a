"""A table's cases of rows: the tokens and labels that a trainer would make of one, or a line that says why not.

An expected outcome is written as text with the loss in ⟦⟧. Its ids and labels are made here, independently of `ifcore`:
the text is tokenised once, and a token is in the loss where it holds a character of a ⟦⟧. Where that isn't what a
trainer does, the outcome is a function of the tokenizer.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import ifcore
from ifcore.rows import by_id
from ifcore.tokens import Loss, tokenise_rows
from tests.tokenizers_and_templates import CONTEXT, build_tokenizer, plain_gradient, tiny_model

IGNORE = -100
OTHER_ROW = {"input_ids": [20, 31, 42], "labels": [IGNORE, 31, 42]}  # a second training example
ROLES = {"s": "system", "u": "user", "a": "assistant", "t": "tool", "d": "developer"}


class Refused:
    """An error of one line that holds all of these words."""

    def __init__(self, *words: str):
        self.words = words

    def check(self, line: str) -> None:
        assert all(word in line for word in self.words) and "\n" not in line, line


@dataclass(frozen=True)
class Case:
    """A row, what is expected of it, and the tokenizer, template and loss that it is given to."""

    row: Any
    expected: Any
    template: str
    tokenizer: str
    loss: Mapping[str, Any]


def case(name, row, expected, template="chatml", tokenizer="bytes", **loss):
    return pytest.param(Case(row, expected, template, tokenizer, loss), id=name)


def turns(*texts):
    """`"u:Hi"` is a turn of the user."""
    return [{"role": ROLES[text[0]], "content": text[2:]} for text in texts]


def messages(*texts, **fields):
    return {"messages": turns(*texts), **fields}


def sharegpt(*texts, **fields):
    """`"human:Hi"` is a turn from a human."""
    speakers = (text.partition(":") for text in texts)
    return {"conversations": [{"from": speaker, "value": value} for speaker, _, value in speakers], **fields}


def chatml(*texts, think=""):
    """A conversation in ChatML; `"A:Yes"` is an answer in the loss."""
    pieces = []
    for text in texts:
        role, content = ROLES[text[0].lower()], text[2:]
        content = f"{think if role == 'assistant' else ''}{content}<|im_end|>"
        pieces.append(f"<|im_start|>{role}\n{f'⟦{content}⟧' if text[0] == 'A' else content}\n")
    return "".join(pieces)


def all_in_loss(text):
    """As TRL and plain language modeling have a text: all its tokens, and what the tokenizer adds around them."""

    def reference(tokenizer):
        ids = tokenizer(text)["input_ids"]
        return ids, ids

    return reference


def completion_in_loss(prompt, completion):
    """As TRL has a prompt and its completion: the loss begins where the tokens part from those of the prompt alone."""

    def reference(tokenizer):
        ids = tokenizer(prompt + completion)["input_ids"]
        start = len(os.path.commonprefix([tokenizer(prompt)["input_ids"], ids]))
        return ids, [IGNORE] * start + ids[start:]

    return reference


def marked(text, special=False):
    """A text with its loss in ⟦⟧; `special`: with what the tokenizer adds around a text."""

    def reference(tokenizer):
        plain, spans, rest = "", [], text
        while "⟦" in rest:
            before, _, rest = rest.partition("⟦")
            inside, _, rest = rest.partition("⟧")
            plain += before + inside
            spans.append((len(plain) - len(inside), len(plain)))
        encoded = tokenizer(plain + rest, add_special_tokens=special, return_offsets_mapping=True)
        ids = encoded["input_ids"]
        in_loss = [any(start < b and a < end for a, b in spans) for start, end in encoded["offset_mapping"]]
        return ids, [token if is_in else IGNORE for token, is_in in zip(ids, in_loss, strict=True)]

    return reference


def exactly(ids, labels, **inputs):
    """The ids and labels themselves, with what else the model is given."""
    return lambda tokenizer: (ids, labels, inputs)


def until_last_label(ids, labels, mask=None):
    """Without padding, and without what follows the last label, which no causal model's loss sees."""
    places = [place for place in range(len(ids)) if mask is None or mask[place]]
    ids, labels = [ids[place] for place in places], [labels[place] for place in places]
    end = max(place + 1 for place, label in enumerate(labels) if label != IGNORE)
    return ids[:end], labels[:end]


def assert_case(case):
    """The row's tokens, labels and scores are those expected; or it is refused, in a line with the words expected."""
    tokenizer, model = build_tokenizer(case.tokenizer, case.template), tiny_model()
    options = {"methods": ["gradsim"], "progress": False, **case.loss}
    if isinstance(case.expected, Refused):
        with pytest.raises(ValueError) as raised:
            ifcore.attribute(model, tokenizer, [case.row], [OTHER_ROW], **options)
        case.expected.check(str(raised.value))
        return
    reference = marked(case.expected) if isinstance(case.expected, str) else case.expected
    ids, labels, *rest = reference(tokenizer)
    inputs = rest[0] if rest else {}
    (tokens,) = tokenise_rows(tokenizer, by_id([case.row], "train").values(), CONTEXT, Loss(**case.loss)).values()
    computed = until_last_label(tokens.ids, tokens.labels, tokens.attention_mask)
    expected = until_last_label(ids, labels, inputs.get("mask"))
    assert tokenizer.decode(computed[0]) == tokenizer.decode(expected[0])  # easier to read where it fails
    assert computed == expected
    scores = ifcore.attribute(model, tokenizer, [case.row, OTHER_ROW], [case.row], **options)["gradsim"]
    reduction = case.loss.get("reduction", "mean")
    gradient, count = plain_gradient(model, ids, labels, reduction=reduction, **inputs)
    other, other_count = _other_gradient(reduction)
    average = (count + other_count) / 2
    weights = (count / average, other_count / average) if reduction == "tokens" else (1, 1)
    products = torch.stack([gradient @ gradient * weights[0], gradient @ other * weights[1]])
    # Llama's norms are in float32 whatever the model's precision.
    torch.testing.assert_close(torch.tensor(scores.to_numpy()[0]), products, rtol=1e-6, atol=1e-10)


@functools.cache
def _other_gradient(reduction):
    return plain_gradient(tiny_model(), *OTHER_ROW.values(), reduction=reduction)
