"""Formats of rows × tokenizers × losses: what a trainer would make of each, or a line that says why it can't be."""

import pytest

from tests.example_cases import (
    Refused,
    all_in_loss,
    assert_case,
    case,
    chatml,
    completion_in_loss,
    marked,
    messages,
    sharegpt,
    turns,
)

QA = {"prompt": "Question: Where? Answer: ", "completion": "Paris."}
ALPACA = {"instruction": "Add.", "input": "1 2", "output": "3"}
BELOW = "Below is an instruction that describes a task"
PAIR = ", paired with an input that provides further context"
REQUEST = ". Write a response that appropriately completes the request.\n\n### Instruction:\n"
U, UA = ("u:Hi",), ("u:Hi", "a:Yes")
LONG, TOOL = "Count to ten, please", [{"type": "function", "function": {"name": "look", "parameters": {}}}]
TOOLS = '<|im_start|>tools\n[{"type": "function", "function": {"name": "look", "parameters": {}}}]<|im_end|>\n'
CALLED = '<call>look {"at": "x"}</call>'


def all_in_loss_but_the_end(text):
    """A text that was cut before the tokenizer's end of text."""
    return lambda tokenizer: (tokenizer(text)["input_ids"],) * 2


PAIRS = [
    case("response", {"prompt": "Hi", "response": "Yes"}, chatml("u:Hi", "A:Yes")),
    case("response of turns", {"prompt": turns("s:S", "u:Hi"), "response": "Yes"}, chatml("s:S", "u:Hi", "A:Yes")),
    case("response with system", {"system": "S", "prompt": "Hi", "response": "Yes"}, chatml("s:S", "u:Hi", "A:Yes")),
    case("response llama3", {"prompt": " Hi ", "response": " Yes\n"},
         "<s><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n⟦Yes<|eot_id|>⟧", "llama3", "bos"),
    case("response none", {"prompt": "Question: Where? Answer: ", "response": "Paris."},
         marked("Question: Where? Answer: ⟦Paris.</s>⟧"), "none"),
    case("response none bos", {"prompt": "Say: ", "response": "Hi"}, marked("Say: ⟦Hi</s>⟧", True), "none", "bos"),
    case("response none merged", {"prompt": "Answer: ", "response": "Paris."}, marked("Answer:⟦ Paris.</s>⟧"), "none",
         "bpe"),
    case("response none chosen", {"prompt": "Say: ", "response": "Hi"}, marked("Say: ⟦Hi</s>⟧"), chat_template="none"),
    case("response empty", {"prompt": "Hi", "response": " "},
         Refused("train, row 0", "nothing in its loss", "skip_empty")),
    case("response null", {"prompt": "Hi", "response": None}, Refused("train, row 0: no response", "it needs")),
    case("no response", {"prompt": "Hi"}, Refused("train, row 0: no completion", "it needs", "prompt and response")),
    case("prompt null", {"prompt": None, "response": "Yes"}, Refused("train, row 0: no prompt", "it needs")),
    case("response of a number", {"prompt": "Hi", "response": 7}, Refused("row 0, response: 7 is no text", "quotes")),
    case("messages null beside", {"messages": None, "prompt": "Hi", "response": "Yes"}, chatml("u:Hi", "A:Yes")),
    case("two formats", {**QA, "messages": turns(*UA)},
         Refused("row 0", "messages", "prompt and completion", "leave one")),
    case("three fields", {**QA, "response": "x"},
         Refused("row 0", "prompt and response", "prompt and completion", "leave one")),
    case("unknown fields", {"question": "a", "answer": "b"},
         Refused("row 0", "question, answer", "it needs", "prompt")),
    case("half of a character", {"prompt": "\ud83d", "response": "Yes"},
         Refused("row 0", r"'\ud83d' is half of a character", "replace it")),
    case("completion", QA, completion_in_loss(QA["prompt"], "Paris.</s>")),
    case("completion merged", QA, completion_in_loss(QA["prompt"], "Paris.</s>"), tokenizer="bpe"),
    case("completion bos", QA, completion_in_loss(QA["prompt"], "Paris.</s>"), tokenizer="bos"),
    case("completion bos eos", QA, completion_in_loss(QA["prompt"], "Paris.</s>"), tokenizer="bos eos"),
    case("completion llama2", QA, completion_in_loss(QA["prompt"], "Paris.</s>"), tokenizer="llama2"),
    case("completion wordpiece", QA, completion_in_loss(QA["prompt"], "Paris.</s>"), tokenizer="wordpiece"),
    case("completion closed already", QA | {"completion": "Paris.</s>"},
         completion_in_loss(QA["prompt"], "Paris.</s>")),
    case("completion all", QA, all_in_loss(QA["prompt"] + "Paris.</s>"), tokenizer="bos", loss_on="all"),
    case("completion empty", QA | {"completion": ""}, completion_in_loss(QA["prompt"], "</s>")),
    case("completion without eos", QA, Refused("no token that ends a text", "set tokenizer.eos_token"),
         tokenizer="no eos"),
    case("completion of turns", {"prompt": turns("s:S", *U), "completion": turns("a:Yes")},
         chatml("s:S", "u:Hi", "A:Yes").replace("⟧\n", "\n⟧")),
    case("completion of more turns", {"prompt": turns(*U), "completion": turns("a:Yes", "u:Bye", "a:No")},
         "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Yes<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n"
         "<|im_start|>assistant\nNo<|im_end|>\n⟧"),
    case("completion of turns assistant", {"prompt": turns("u:Hi", "a:Yes", "u:Bye"), "completion": turns("a:No")},
         chatml("u:Hi", "A:Yes", "u:Bye", "A:No"), loss_on="assistant"),
    case("completion of turns zephyr", {"prompt": turns(*U), "completion": turns("a:Yes")},
         "<|user|>\nHi</s>\n⟦<|assistant|>\nYes</s>\n⟧", "zephyr"),
    case("completion of turns r1", {"prompt": turns(*U), "completion": turns("a:Well, yes, of course")},
         "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Well, yes, of course<|im_end|>\n⟧", "r1"),
    case("completion of a turn and a text", {"prompt": turns(*U), "completion": "Yes"},
         Refused("row 0, completion: 'Yes'", "role and content")),
]  # fmt: skip

OTHERS = [
    case("alpaca", ALPACA, chatml("u:Add.\n1 2", "A:3")),
    case("alpaca without input", ALPACA | {"input": ""}, chatml("u:Add.", "A:3")),
    case("alpaca none", ALPACA,
         marked(f"{BELOW}{PAIR}{REQUEST}Add.\n\n### Input:\n1 2\n\n### Response:\n⟦3</s>⟧", True), "none", "bos"),
    case("alpaca none without input", {"instruction": "Add.", "output": "3"},
         marked(f"{BELOW}{REQUEST}Add.\n\n### Response:\n⟦3</s>⟧"), "none"),
    case("alpaca history", ALPACA | {"system": "S", "history": [["Hi", "Yes"]]},
         chatml("s:S", "u:Hi", "a:Yes", "u:Add.\n1 2", "A:3")),
    case("alpaca history none", ALPACA | {"history": [["Hi", "Yes"]]}, Refused("row 0", "no chat template"), "none"),
    case("alpaca history wrong", ALPACA | {"history": ["Hi"]}, Refused("row 0, history, 0: 'Hi'", "pairs")),
    case("alpaca empty", ALPACA | {"output": ""}, Refused("row 0", "nothing in its loss", "skip_empty")),
    case("alpaca output null", ALPACA | {"output": None}, Refused("row 0", "no output", "it needs")),
    case("sharegpt", sharegpt("human:Hi", "gpt:Yes"), chatml("u:Hi", "A:Yes")),
    case("sharegpt system", sharegpt("human:Hi", "gpt:Yes", system="S"), chatml("s:S", "u:Hi", "A:Yes")),
    case("sharegpt system turn", sharegpt("system:S", "human:Hi", "gpt:Yes"), chatml("s:S", "u:Hi", "A:Yes")),
    case("sharegpt tools",
         sharegpt("human:Hi", 'function_call:{"name": "look", "arguments": {"at": "x"}}', "observation:7", "gpt:Seven",
         tools=TOOL), TOOLS + chatml("u:Hi", "A:" + CALLED, "t:7", "A:Seven"), "tools", loss_on="assistant"),
    case("sharegpt call wrong", sharegpt("human:Hi", "function_call:look"),
         Refused("row 0, conversations, 1, value: 'look'", "name and arguments")),
    case("sharegpt value null", {"conversations": [{"from": "human", "value": None}, {"from": "gpt", "value": "Yes"}]},
         Refused("row 0, conversations, 0", "value")),
    case("sharegpt of roles", {"conversations": turns(*UA)}, chatml("u:Hi", "A:Yes")),
    case("text", {"text": "Once."}, all_in_loss("Once.</s>")),
    case("text bos", {"text": "Once."}, all_in_loss("Once.</s>"), tokenizer="bos"),
    case("text bos eos", {"text": "Once."}, all_in_loss("Once.</s>"), tokenizer="bos eos"),
    case("text llama2", {"text": "Once."}, all_in_loss("Once.</s>"), tokenizer="llama2"),
    case("text slow", {"text": "Once."}, all_in_loss("Once.</s>"), tokenizer="slow"),
    case("text of a chat", {"text": chatml(*UA)}, all_in_loss(chatml(*UA) + "</s>")),
    case("text last", {"text": "Once."}, Refused("row 0", "loss_on: 'last'", "set loss_on to all"), loss_on="last"),
    case("text empty", {"text": " "}, Refused("row 0", "nothing in its loss")),
    case("text of a list", {"text": ["a"]}, Refused("row 0, text: ['a'] is no text")),
    case("sum", messages(*UA), chatml("u:Hi", "A:Yes"), reduction="sum"),
    case("tokens", messages(*UA), chatml("u:Hi", "A:Yes"), reduction="tokens"),
    case("cut right", messages("u:Hi", f"a:{LONG}"), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n⟦Coun⟧",
         max_length=25),
    case("cut to nothing", messages(f"u:{LONG}", "a:Yes"), Refused("row 0", "max_length", "25"), max_length=25),
    case("cut left", messages(f"u:{LONG}", "a:Yes"), "ase<|im_end|>\n<|im_start|>assistant\n⟦Yes<|im_end|>⟧",
         max_length=21, truncation_side="left"),
    case("cut text", {"text": "Once upon"}, all_in_loss_but_the_end("Once"), tokenizer="bos", max_length=5),
    case("max_length 1", {"text": "a"}, Refused("max_length: 1", "2 tokens or more"), max_length=1),
    case("loss_on unknown", {"text": "a"}, Refused("loss_on: 'response'", "auto, last, assistant, all"),
         loss_on="response"),
    case("reduction unknown", {"text": "a"}, Refused("reduction: 'median'", "mean, sum, tokens"), reduction="median"),
    case("longer than the context", {"text": "a" * 1100},
         Refused("row 0", "exceed the context of 1024", "max_length")),
]  # fmt: skip


@pytest.mark.parametrize("case", PAIRS + OTHERS)
def test_a_row_is_what_its_trainer_made_of_it_or_a_line_says_why_not(case):
    assert_case(case)
