"""Batches hold every example once, and the model sees in them what it sees in each alone."""

from dataclasses import replace

import pytest
import torch

from ifcore.batches import batches, collate, example_batches
from ifcore.examples import IGNORE, Example, Tokens, with_prompt
from ifcore.losses import example_losses
from ifcore.tokens import tokenise

# Two sequences in one row, and the same with less in the second.
PACKED = Tokens((5, 6, 7, 8, 9), (5, 6, 7, IGNORE, 9), 5, position_ids=(0, 1, 2, 0, 1))
SHORTER = Tokens((5, 6, 7, 8), (5, 6, 7, IGNORE), 4, position_ids=(0, 1, 2, 0))


def test_batches_hold_every_example_once_longest_first(tiny, examples):
    tokens = tokenise(tiny[1], examples)
    rows = torch.cat([batch.rows for batch in batches(tokens, 2)]).tolist()
    assert sorted(rows) == list(range(len(examples)))
    lengths = [len(tokens[row]) for row in rows]
    assert lengths == sorted(lengths, reverse=True)


def test_labels_are_the_response_tokens_and_nothing_else(tiny, examples):
    tokens = tokenise(tiny[1], examples)
    for batch in batches(tokens, 3):
        for place, row in enumerate(batch.rows):
            prompt, response = tokens[row].prompt, tokens[row].response
            labels, mask = batch.labels[place], batch.attention_mask[place].bool()
            assert tuple(labels[labels != IGNORE].tolist()) == response
            assert tuple(batch.input_ids[place][mask].tolist()) == (*prompt, *response)
            assert tuple(batch.input_ids[place][batch.in_prompt[place]].tolist()) == prompt
            assert int(batch.prompt_end[place]) == len(prompt) - 1


def test_a_batch_comes_apart_into_its_sequences(tiny, examples):
    tokens = [replace(one, weight=float(place)) for place, one in enumerate(tokenise(tiny[1], examples))]
    (batch,) = batches(tokens, len(tokens))
    for single in batch.singles():
        assert tuple(single.input_ids[0].tolist()) == tokens[int(single.rows)].ids
        assert single.weights.tolist() == single.rows.tolist()
    (second,) = batch.singles([1])
    assert torch.equal(second.rows, batch.rows[1:2])


def test_a_sequence_by_itself_keeps_the_padding_that_is_in_its_loss():
    """`labels = input_ids.copy()` after padding."""
    mask = (1, 1, 1, 0, 0)
    (batch,) = batches([Tokens((9, 3, 7, 0, 0), (9, 3, 7, 0, IGNORE), 1, attention_mask=mask)], 1, 0)
    (single,) = batch.singles()
    assert single.labels.tolist() == [[IGNORE, 3, 7, 0]] and single.attention_mask.tolist() == [[1, 1, 1, 0]]


def test_a_packed_row_has_no_mask_and_is_batched_with_its_like(tiny):
    plain = with_prompt((5, 6, 7), (8, 9, 10))
    first, second = batches([PACKED, plain, SHORTER], 3)
    assert first.rows.tolist() == [1] and set(first.inputs()) == {"input_ids", "attention_mask"}
    assert second.rows.tolist() == [0, 2] and set(second.inputs()) == {"input_ids", "position_ids"}
    with pytest.raises(ValueError, match="some have position_ids and no attention_mask, others not; batch them apart"):
        collate([PACKED, plain], [0, 1])


def test_packed_rows_of_several_lengths_have_the_losses_that_each_has_alone(tiny):
    model = tiny[0].eval()
    (batch,) = batches([PACKED, SHORTER], 2)
    alone = torch.cat([example_losses(model, collate([tokens], [0])) for tokens in (PACKED, SHORTER)])
    torch.testing.assert_close(example_losses(model, batch), alone)


def test_the_models_context_is_that_of_its_batches(tiny):
    with pytest.raises(ValueError, match="context of 1024"):
        example_batches(*tiny, [Example("Hi", "y" * 2000)])
