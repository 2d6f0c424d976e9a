"""The opening of an answer. Where answers lie in a conversation, the table of template cases shows."""

import pytest

from ifcore.chat_templates import opened
from tests.tokenizers_and_templates import build_tokenizer

TURNS = [("system", "S"), ("user", "Hi")]
CHATML = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("template", "prompt", "text"),
    [
        ("chatml", "Hi", CHATML),
        ("chatml", TURNS, "<|im_start|>system\nS<|im_end|>\n" + CHATML),
        ("r1", "Hi", CHATML + "<think>\n"),
        ("zephyr", "Hi", "<|user|>\nHi</s>\n"),
        ("none", "Hi", "Hi"),
    ],
)
def test_a_prompt_is_opened_as_the_template_opens_an_answer(template, prompt, text):
    assert opened(build_tokenizer(template=template), prompt) == text


def test_turns_without_a_template_are_refused():
    with pytest.raises(ValueError, match="no chat template for turns"):
        opened(build_tokenizer(template="none"), TURNS)
