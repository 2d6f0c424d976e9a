"""TRL's SFTTrainer, on every format of rows that it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from peft import LoraConfig
from transformers import AutoTokenizer, Trainer
from trl import SFTConfig, SFTTrainer

from tests.clients.common import TRAINING, load_rows, write_rows
from tests.clients.texts import QUESTIONS, VAL_QUESTIONS

Row = dict[str, Any]
MARKED = (  # ChatML, with the marks by which TRL tells the assistant's answers
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>{% endgeneration %}{% else %}{{ message['content'] }}<|im_end|>"
    "{% endif %}\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{}\n\n### Response:\n{}"
)


@dataclass(frozen=True)
class Client:
    """`settings` are of SFTConfig, `adapter` of LoraConfig, `options` of the command.

    `template`: what the tokenizer's chat template is replaced by, as a user does before training. `template_file`: what
    a file holds that both the trainer and the command are given.
    """

    train: Sequence[Row]
    val: Sequence[Row]
    options: Sequence[str] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    adapter: dict[str, Any] = field(default_factory=dict)
    template: str | None = None
    template_file: str | None = None


def run(client: Client, folder: Path, model: Path) -> tuple[Trainer, list[str]]:
    """The trainer after its fine-tune, and the command's options."""
    settings, options = dict(client.settings), list(client.options)
    if client.template_file:
        template = folder / "template.jinja"
        template.write_text(client.template_file, encoding="utf-8")
        settings["chat_template_path"] = str(template)
        options += ["--chat-template", str(template)]
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.chat_template = client.template or tokenizer.chat_template
    lora = {"r": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    trainer = SFTTrainer(
        str(model),
        args=SFTConfig(output_dir=str(folder / "trainer"), **TRAINING | settings),
        train_dataset=load_rows(write_rows(folder / "train.jsonl", client.train)),
        eval_dataset=load_rows(write_rows(folder / "val.jsonl", client.val)),
        processing_class=tokenizer,
        peft_config=LoraConfig(**lora | client.adapter),
    )
    trainer.train()
    trainer.save_model(str(folder / "adapter"))
    return trainer, options


def turn(role: str, content: str | None, **more: Any) -> Row:
    return {"role": role, "content": content, **more}


def asked(question: str, answer: str) -> list[Row]:
    return [turn("user", question), turn("assistant", answer)]


def in_format(make: Callable[[str, str], Row]) -> tuple[list[Row], list[Row]]:
    """Training and validation rows."""
    return [make(*pair) for pair in QUESTIONS], [make(*pair) for pair in VAL_QUESTIONS]


def call(name: str, **arguments: Any) -> Row:
    """A turn that calls a tool and says nothing."""
    function = {"name": name, "arguments": arguments}
    return turn("assistant", None, tool_calls=[{"type": "function", "function": function}])


def tool(name: str, **parameters: str) -> Row:
    properties = {parameter: {"type": kind} for parameter, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": f"The {name}.", "parameters": schema}}


def trl_template(name: str) -> Path:
    return Path(str(files("trl"))) / "chat_templates" / f"{name}.jinja"


MESSAGES, VAL_MESSAGES = in_format(lambda question, answer: {"messages": asked(question, answer)})
MESSAGES[1] = {"messages": [turn("system", "Be brief."), *asked(*QUESTIONS[1])]}
MESSAGES[2] = {"messages": [*asked(*QUESTIONS[2]), *asked(*QUESTIONS[3])]}
MESSAGES[3] = {"messages": [turn("system", ""), *asked("Hm?", "What?"), *asked(*QUESTIONS[4])]}

TEXTS, VAL_TEXTS = in_format(lambda question, answer: {"prompt": f"Q: {question}\nA:", "completion": f" {answer}"})
TEXTS[0] = {"prompt": "Answer: ", "completion": "Paris."}  # one token holds the space and the completion's first word
TEXTS[1] = {"prompt": "It is un", "completion": "believable."}

TURNS, VAL_TURNS = in_format(
    lambda question, answer: {"prompt": [turn("user", question)], "completion": [turn("assistant", answer)]}
)
TURNS[0]["prompt"] = [turn("system", "Be brief."), *asked("Hm?", "What?"), turn("user", "Who?")]
TURNS[1]["completion"] += asked("And another?", "Eleven.")

ALPACA_TEXTS, VAL_ALPACA_TEXTS = in_format(lambda question, answer: {"text": ALPACA.format(question, answer)})

WEATHER, ADD = tool("weather", city="string"), tool("add", a="integer", b="integer")
CALLS = [
    {
        "messages": [
            turn("user", f"How is the weather in {city}?"),
            call("weather", city=city),
            turn("tool", weather, name="weather"),
            turn("assistant", f"It is {weather}."),
        ],
        "tools": [WEATHER, ADD] if weather == "sunny" else [WEATHER],
    }
    for city, weather in (("Bern", "sunny"), ("Rome", "hot"), ("Oslo", "snowing"))
]
CALLS += [
    {"messages": [turn("user", f"What is {a} + {b}?"), call("add", a=a, b=b), turn("tool", str(a + b))], "tools": [ADD]}
    for a, b in ((1, 2), (30, 4))
]
CALLS += [{"messages": asked(*QUESTIONS[0])}]
VAL_CALLS = [{**row, "tools": json.dumps(row["tools"])} for row in (CALLS[0], CALLS[3])]

SFT = {
    "messages": Client(MESSAGES, VAL_MESSAGES, ["--loss-on", "all"]),
    "messages_assistant_only_marked": Client(
        MESSAGES,
        VAL_MESSAGES,
        ["--loss-on", "assistant"],
        settings={"assistant_only_loss": True},
        template_file=MARKED,
    ),
    "messages_assistant_only_known": Client(  # TRL tokenises with its own marked template, and saves the other
        MESSAGES,
        VAL_MESSAGES,
        ["--loss-on", "assistant", "--chat-template", str(trl_template("qwen2_5_training"))],
        settings={"assistant_only_loss": True},
        template=trl_template("qwen2_5").read_text(encoding="utf-8"),
    ),
    "prompt_completion": Client(TEXTS, VAL_TEXTS),
    "prompt_completion_cut": Client(  # TRL drops rows of which no completion is left
        [{"prompt": "One " * 20, "completion": "two"}, *TEXTS[2:]],
        VAL_TEXTS,
        ["--max-length", "13", "--skip-empty"],
        settings={"max_length": 13},
    ),
    "prompt_completion_turns": Client(TURNS, VAL_TURNS),
    "alpaca_saved_head": Client(ALPACA_TEXTS, VAL_ALPACA_TEXTS, adapter={"modules_to_save": ["lm_head"]}),
    "dora_rslora": Client(
        MESSAGES,
        VAL_MESSAGES,
        ["--loss-on", "all"],
        adapter={"r": 4, "use_dora": True, "use_rslora": True, "target_modules": "all-linear"},
    ),
    "tool_calls": Client(
        CALLS, VAL_CALLS, ["--loss-on", "all"], template=trl_template("qwen2_5").read_text(encoding="utf-8")
    ),
}
CLIENTS = {name: partial(run, client) for name, client in SFT.items()}
