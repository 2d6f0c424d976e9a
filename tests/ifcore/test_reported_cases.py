"""What users of PEFT, TRL, transformers and others have reported: each right here, or a line that says why not."""

import pytest
from safetensors.torch import load_file, save_file

from ifcore import adapters, loading, lora
from tests.example_cases import Refused, assert_case, case, chatml, messages, turns

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
)
FIRST = (
    "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}\n\n{% endgeneration %}"
    "{% else %}<|im_start|>{{ m.content }}{% endif %}{% endfor %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\nHm{% endif %}"
)
DATED = "Today: {{ strftime_now('%d %b %Y') }}{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
YES = turns("u:Hi"), turns("a:Yes")

REPORTED = [
    # transformers 47325: a marked answer at the very beginning, or one that ends in blanks, marked all that follows.
    case("marks at the beginning", messages("a:Yes", "u:Hi"), "⟦Yes\n\n⟧<|im_start|>Hi", chat_template=FIRST),
    # transformers 34494: an answer that is cut had no mark at all.
    case("marks of a cut answer", messages("u:Hi", "a:Count to ten"),
         "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Count⟧", chat_template=CHATML, max_length=26),
    # marin 7237: without marks in the template no token was in the loss, silently.
    case("no marks", messages("u:Hi", "a:Yes"), chatml("u:Hi", "A:Yes"), loss_on="assistant"),
    # trl 5213: a prompt that opens with a thought, and a whole that has another one.
    case("another thought", dict(zip(("prompt", "completion"), YES, strict=True)),
         "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n⟦\n</think>\n\nYes<|im_end|>\n⟧",
         chat_template=THINKING),
    # trl 5138: Llama's template writes the day, which is not that of the fine-tune.
    case("today", messages("u:Hi", "a:Yes"), Refused("row 0", "writes the day", "give date"), chat_template=DATED),
    # trl 1401: whose tokens have the BOS.
    case("one BOS", {"prompt": "Hi ", "completion": "you"}, lambda tokenizer: (
         [tokenizer.bos_token_id, *tokenizer("Hi you</s>", add_special_tokens=False)["input_ids"]],
         [-100] * 4 + tokenizer("you</s>", add_special_tokens=False)["input_ids"]), tokenizer="bos"),
    # trl 5555: a prompt by itself is closed by an EOS that the whole doesn't have there.
    case("an EOS by itself", {"prompt": "Hi ", "completion": "you"}, lambda tokenizer: (
         ids := tokenizer("Hi you</s>")["input_ids"], [-100] * 4 + ids[4:]), tokenizer="bos eos"),
    # trl 3091: where EOS pads, too, the true one was left out of the loss.
    case("EOS pads", {"text": "Once"}, lambda tokenizer: (tokenizer("Once</s>")["input_ids"],) * 2,
         tokenizer="eos pads"),
]  # fmt: skip


@pytest.mark.parametrize("case", REPORTED)
def test_what_was_reported_of_rows(case):
    assert_case(case)


def test_an_adapter_without_pefts_prefix_is_not_silently_left_out(tmp_path):
    """sentence-transformers 3865: names without `base_model.model.` were in no module, and the base answered."""
    _, file = save_adapter(tmp_path)
    save_file({key.removeprefix("base_model.model."): value for key, value in load_file(file).items()}, file)
    with pytest.raises(ValueError, match=r"has no base_model\.model\..*it holds model\.layers\.0.*save it again"):
        adapters.load_adapter(tmp_path, "random:tiny-llama")


def test_keys_that_a_save_on_several_machines_lost_are_missed(tmp_path):
    """peft 2699: a warning, and scores of an adapter that is half there."""
    _, file = save_adapter(tmp_path)
    save_file({key: value for key, value in load_file(file).items() if "layers.1" not in key}, file)
    with pytest.raises(ValueError, match=r"has no base_model\.model\.model\.layers\.1\..* and 3 more"):
        adapters.load_adapter(tmp_path, "random:tiny-llama")


def save_adapter(folder):
    model, _ = loading.load("random:tiny-llama")
    peft = lora.add_lora(model)
    peft.save_pretrained(folder)
    return peft, folder / "adapter_model.safetensors"
