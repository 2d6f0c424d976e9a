import pytest
import torch

from ifcore.batches import IGNORE, batches, example_batches
from ifcore.examples import Example, Tokens, chat, tokenise


def test_tokens_spell_the_chat_and_the_response(tiny):
    _, tokenizer = tiny
    (tokens,) = tokenise(tokenizer, [Example("Hi", "yes", "a")])
    assert tokenizer.decode(tokens.prompt) == "<|user|>Hi<|end|><|assistant|>"
    assert tokenizer.decode(tokens.response) == "yes<|end|>"


def test_batches_hold_every_example_once_longest_first(tiny, examples):
    tokens = tokenise(tiny[1], examples)
    rows = torch.cat([batch.rows for batch in batches(tokens, 2)]).tolist()
    assert sorted(rows) == list(range(len(examples)))
    lengths = [len(tokens[i]) for i in rows]
    assert lengths == sorted(lengths, reverse=True)


def test_labels_are_the_response_tokens_and_nothing_else(tiny, examples):
    tokens = tokenise(tiny[1], examples)
    for batch in batches(tokens, 3):
        for row, ids, mask, labels, end in zip(*vars(batch).values(), strict=True):
            assert tuple(labels[labels != IGNORE].tolist()) == tokens[row].response
            assert ids[mask.bool()].tolist() == [*tokens[row].prompt, *tokens[row].response]
            assert int(end) == len(tokens[row].prompt) - 1


@pytest.mark.parametrize("length", [None, 90])
def test_the_padded_batch_is_what_a_tokenizer_pads_on_the_left_with_a_label_at_every_position(tiny, examples, length):
    tokens = tokenise(tiny[1], examples)
    texts = [chat(tiny[1], example.prompt) + example.response + tiny[1].eos_token for example in examples]
    padding = {"padding": "longest"} if length is None else {"padding": "max_length", "max_length": length}
    expected = tiny[1](texts, padding_side="left", return_tensors="pt", **padding)
    for batch in batches(tokens, 2, tiny[1].pad_token_id, "padded", length):
        assert torch.equal(batch.input_ids, expected["input_ids"][batch.rows])
        assert torch.equal(batch.attention_mask, expected["attention_mask"][batch.rows])
        assert torch.equal(batch.labels[:, 1:], batch.input_ids[:, 1:]) and (batch.labels[:, 0] == IGNORE).all()
        for row, ids, end in zip(batch.rows, batch.input_ids, batch.prompt_end, strict=True):
            assert tuple(ids[end + 1 :].tolist()) == tokens[row].response


def test_a_loss_or_a_length_that_cannot_be_is_refused():
    tokens = [Tokens((1, 2), (3, 4))]
    with pytest.raises(ValueError, match="loss_on: 'prompt'; choose one of response, all, padded"):
        batches(tokens, loss_on="prompt")
    with pytest.raises(ValueError, match="length: 3; an example has 4 tokens, give that or more"):
        batches(tokens, loss_on="padded", length=3)


def test_an_empty_response_is_refused_by_name(tiny):
    with pytest.raises(ValueError, match=r"example 0 \('Hi'\): empty response"):
        tokenise(tiny[1], [Example("Hi", "  ", "a")])


def test_a_response_longer_than_the_context_is_refused(tiny):
    with pytest.raises(ValueError, match=r"4 prompt|response tokens exceed the context of 20; shorten"):
        tokenise(tiny[1], [Example("Hi", "y" * 30, "a")], context=20)
    with pytest.raises(ValueError, match="context of 1024"):
        example_batches(tiny[0], tiny[1], [Example("Hi", "y" * 2000, "a")])
