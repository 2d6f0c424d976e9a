"""The words in which the loss is said, against counts and texts that one can read off the rows."""

import pytest

from ifcore.examples import IGNORE, Tokens, with_prompt
from ifcore.explain_loss import LONGEST, explain, marked
from ifcore.rows import by_id
from ifcore.tokens import Loss, tokenise_rows
from tests.example_cases import messages
from tests.tokenizers_and_templates import build_tokenizer

ANSWER, COMPLETION, ALL = "the last answer's tokens", "the completion's tokens", "all tokens"
PROMPT_AND_RESPONSE, TEXT = {"prompt": "Hi", "response": "Yes"}, {"text": "Hi"}
CHAT, COMPLETED = messages("u:Hi", "a:Yes"), {"prompt": "Hi ", "completion": "Yes"}
IDS = {"input_ids": [5, 20, 31], "labels": [IGNORE, IGNORE, 31]}


def explained(rows, loss=None, skip_empty=False):
    """What is said of training rows."""
    tokenizer, rows, loss = build_tokenizer(), by_id(rows, "train"), loss or Loss()
    tokens = tokenise_rows(tokenizer, rows.values(), loss=loss, skip_empty=skip_empty)
    return explain(tokenizer, {"train": rows}, {"train": tokens}, loss).splitlines()


@pytest.mark.parametrize(
    ("row", "loss", "words"),
    [
        (PROMPT_AND_RESPONSE, {}, f"the mean over {ANSWER}"),
        (CHAT, {}, f"the mean over {ANSWER}"),
        (CHAT, {"loss_on": "assistant"}, "the mean over the tokens of each answer"),
        (CHAT, {"loss_on": "all"}, f"the mean over {ALL}"),
        (CHAT, {"reduction": "sum"}, f"the sum over {ANSWER}"),
        (CHAT, {"reduction": "tokens"}, f"the mean over {ANSWER}, weighted by how many these are"),
        (COMPLETED, {}, f"the mean over {COMPLETION}"),
        (COMPLETED, {"loss_on": "all"}, f"the mean over {ALL}"),
        (TEXT, {}, f"the mean over {ALL}"),
        (IDS, {}, "the mean over the tokens that its labels name"),
    ],
)
def test_each_format_says_which_of_its_tokens_count(row, loss, words):
    assert explained([row], Loss(**loss))[0].endswith(f" count: {words} (1)")


def test_rows_and_tokens_are_counted_and_the_first_row_is_shown():
    rows = [TEXT, TEXT, PROMPT_AND_RESPONSE, {"prompt": "Hi", "response": ""}]
    first, second, *trainers = explained(rows, skip_empty=True)
    # "Hi" and the end of text are 3 tokens, of which nothing predicts the first; "Yes" and its closing are 4.
    chat = len(build_tokenizer()("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>")["input_ids"])
    assert first == (
        f"train: 3 rows, 1 with nothing in their loss left out; of {6 + chat} tokens 8 count: "
        f"the mean over {ALL} (2); the mean over {ANSWER} (1)"
    )
    assert second == "  train, row 0: H⟦i</s>⟧"
    assert trainers[0].startswith("Was that the loss?")


def test_of_rows_with_labels_nothing_is_asked():
    assert len(explained([IDS, IDS])) == 2


def test_the_tokens_in_the_loss_are_marked():
    tokenizer = build_tokenizer()
    ids = tokenizer("a\nbcd")["input_ids"]
    tokens = Tokens(tuple(ids), (ids[0], IGNORE, ids[2], IGNORE, ids[4]), 0)
    assert marked(tokenizer, tokens) == r"a\n⟦b⟧c⟦d⟧"


def test_of_a_long_run_the_two_ends_are_shown():
    tokenizer = build_tokenizer()
    prompt = tokenizer("a" * LONGEST + "b" * LONGEST)["input_ids"]
    half = LONGEST // 2
    text = marked(tokenizer, with_prompt(prompt, tokenizer("yes")["input_ids"]))
    assert text == f"{'a' * half} … {'b' * half}⟦yes⟧"
