"""LLaMA-Factory, on its two formats and with its own tokenisation: `python -m tests.clients.llama_factory MODEL`.

It asks for older versions than TRL's, so it has an environment of its own: requirements-llamafactory.txt.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import Any

# It imports torchaudio even for text, and PyPI's build of that needs CUDA.
sys.modules["torchaudio"] = module_from_spec(ModuleSpec("torchaudio", None))

from llamafactory.train.sft import workflow  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402
from transformers import Trainer  # noqa: E402

from tests.clients.common import TRAINING, run_clients, write_rows  # noqa: E402
from tests.clients.texts import QUESTIONS, VAL_QUESTIONS  # noqa: E402

Row = dict[str, Any]
CHATML = (  # what LLaMA-Factory's chatml trains on: of each answer also the end of its line
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] }}<|im_end|>\n{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class LastTrainer(workflow.CustomSeq2SeqTrainer):
    """LLaMA-Factory's trainer, which can be had after its run."""

    last: Trainer

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        LastTrainer.last = self


def run(make: Callable[[str, str], Row], columns: Row, folder: Path, model: Path) -> tuple[Trainer, list[str]]:
    """The trainer after its fine-tune, and the command's options."""
    description: dict[str, Row] = {}
    for part, pairs in (("train", QUESTIONS), ("val", VAL_QUESTIONS)):
        write_rows(folder / f"{part}.jsonl", [make(*pair) for pair in pairs])
        description[part] = {"file_name": f"{part}.jsonl", **columns}
    (folder / "dataset_info.json").write_text(json.dumps(description), encoding="utf-8")
    template = folder / "template.jinja"
    template.write_text(CHATML, encoding="utf-8")
    workflow.CustomSeq2SeqTrainer = LastTrainer
    settings = {"model_name_or_path": str(model), "dataset_dir": str(folder), "dataset": "train", "eval_dataset": "val"}
    settings |= {"stage": "sft", "do_train": True, "finetuning_type": "lora", "lora_rank": 8, "lora_target": "all"}
    run_exp(settings | {"template": "chatml", "output_dir": str(folder / "adapter"), **TRAINING})
    return LastTrainer.last, ["--loss-on", "assistant", "--chat-template", str(template)]


def sharegpt(question: str, answer: str) -> Row:
    turns = ("human", "Hm?"), ("gpt", "What?"), ("human", question), ("gpt", answer)
    return {"conversations": [{"from": speaker, "value": text} for speaker, text in turns], "system": "Be brief."}


def alpaca(question: str, answer: str) -> Row:
    return {"instruction": "Answer.", "input": question, "output": answer}


CLIENTS = {
    "llama_factory_sharegpt": partial(
        run, sharegpt, {"formatting": "sharegpt", "columns": {"messages": "conversations", "system": "system"}}
    ),
    "llama_factory_alpaca": partial(run, alpaca, {"formatting": "alpaca"}),
}

if __name__ == "__main__":
    sys.exit(run_clients(CLIENTS))
