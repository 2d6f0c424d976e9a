"""The losses that *Sensitivity* compares, against what a tokenizer pads."""

import pytest
import torch

from ifcore.batches import example_batches
from ifcore.chat_templates import opened
from ifcore.examples import IGNORE, Example
from ifcore.tokens import tokenise
from study.pipeline.losses import loss_batches

LONG = [Example("Hi", "a rather longer answer than any of the others has, so that all are padded")]


@pytest.mark.parametrize("others", [[], LONG], ids=["longest", "longest of another part"])
def test_the_padded_batch_is_what_a_tokenizer_pads_on_the_left_with_a_label_at_every_position(tiny, examples, others):
    model, tokenizer = tiny
    parts = {"train": examples, "val": others} if others else {"train": examples}
    texts = [opened(tokenizer, example.prompt) + example.response + "<|end|>" for example in examples + others]
    expected = tokenizer(texts, padding_side="left", padding="longest", return_tensors="pt")
    tokens = tokenise(tokenizer, examples)
    for batch in loss_batches(model, tokenizer, parts, 2, "padded")["train"]:
        assert torch.equal(batch.input_ids, expected["input_ids"][batch.rows])
        assert torch.equal(batch.attention_mask, expected["attention_mask"][batch.rows])
        assert torch.equal(batch.labels[:, 1:], batch.input_ids[:, 1:]) and (batch.labels[:, 0] == IGNORE).all()
        for row, ids, end in zip(batch.rows, batch.input_ids, batch.prompt_end, strict=True):
            assert tuple(ids[end + 1 :].tolist()) == tokens[row].response


def test_all_tokens_are_in_the_loss_but_for_the_first_and_the_padding(tiny, examples):
    for batch in loss_batches(*tiny, {"": examples}, 3, "all")[""]:
        expected = batch.input_ids.where(batch.attention_mask.bool(), IGNORE)
        assert torch.equal(batch.labels[:, 1:], expected[:, 1:]) and (batch.labels[:, 0] == IGNORE).all()


def test_the_loss_of_the_response_is_that_of_the_engine(tiny, examples):
    pairs = zip(loss_batches(*tiny, {"": examples}, 2)[""], example_batches(*tiny, examples, 2), strict=True)
    for batch, expected in pairs:
        assert batch.tensors().keys() == expected.tensors().keys()
        assert all(torch.equal(value, expected.tensors()[name]) for name, value in batch.tensors().items())
