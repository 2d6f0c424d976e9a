"""What an example's tokens are beside their ids and labels, of which the tables of cases tell: answers and errors."""

import pytest

from ifcore.examples import Conversation, Example, Text, with_prompt
from ifcore.tokens import Loss, tokenise
from tests.tokenizers_and_templates import build_tokenizer

CHAT = Conversation([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes"}])
LONGER = Conversation([*CHAT.turns, {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "No"}])
OPENING = "<|user|>Hi<|end|><|assistant|>"
ANSWERS = {  # name: example, loss_on, what is before the last answer and what from there on
    "example": (Example("Hi", "Yes"), "auto", OPENING, "Yes<|end|>"),
    "example, all": (Example("Hi", "Yes"), "all", OPENING, "Yes<|end|>"),
    "turns": (CHAT, "auto", OPENING, "Yes<|end|>"),
    "several answers": (LONGER, "assistant", OPENING + "Yes<|end|><|user|>Bye<|end|><|assistant|>", "No<|end|>"),
    "completion": (Text("Hi ", "Yes", like_trl=True), "auto", "Hi ", "Yes<|end|>"),
    "text": (Text(None, "Hi"), "auto", "Hi<|end|>", ""),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_prompt_and_response_meet_where_the_last_answer_begins(tiny, name):
    example, loss_on, before, answer = ANSWERS[name]
    (tokens,) = tokenise(tiny[1], [example], loss=Loss(loss_on))
    assert (tiny[1].decode(tokens.prompt), tiny[1].decode(tokens.response)) == (before, answer)


def test_a_cut_moves_the_answer_with_the_tokens(tiny):
    loss = Loss("all", max_length=8, truncation_side="left")
    (tokens,) = tokenise(tiny[1], [CHAT], loss=loss)
    assert (tiny[1].decode(tokens.prompt), tiny[1].decode(tokens.response)) == ("Hi<|end|><|assistant|>", "Yes<|end|>")


def test_tokens_stay_what_they_are(tiny):
    tokens = with_prompt((5, 6), (7, 8))
    assert tokenise(tiny[1], [tokens], loss=Loss("all")) == [tokens]


def test_an_example_is_named_by_its_place_and_beginning(tiny):
    with pytest.raises(ValueError, match=r"example 1 \('Hi'\): nothing in its loss, as the answer is empty"):
        tokenise(tiny[1], [Example("Hi", "Yes"), Example("Hi", "  ")])
    with pytest.raises(ValueError, match=r"example 0 \('Hi'\): 34 tokens exceed the context of 20; set max_length"):
        tokenise(tiny[1], [Example("Hi", "y" * 28)], context=20)


def test_weights_of_rows_are_their_tokens_beside_the_average_rows(tiny):
    texts = [Text(None, "abc"), Text(None, "a")]  # with the end of text 3 and 1 tokens are predicted
    weights = [tokens.weight for tokens in tokenise(tiny[1], texts, loss=Loss(reduction="tokens"))]
    assert weights == [3 / 2, 1 / 2]
    weights = [tokens.weight for tokens in tokenise(tiny[1], texts, loss=Loss(reduction="sum"))]
    assert weights == [3, 1]


def test_a_tokenizer_that_adds_tokens_adds_none_to_a_template():
    tokenizer = build_tokenizer("bos eos")
    (chat,) = tokenise(tokenizer, [CHAT])
    (text,) = tokenise(tokenizer, [Text(None, "Hi")])
    assert tokenizer.bos_token_id not in chat.ids and text.ids[0] == tokenizer.bos_token_id
