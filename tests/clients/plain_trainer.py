"""transformers' Trainer on rows of token ids and labels that the user has masked."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainingArguments,
    set_seed,
)

from tests.clients.common import TRAINING, load_rows, write_rows
from tests.clients.texts import QUESTIONS, VAL_QUESTIONS

IGNORE = -100


def ids_and_labels(folder: Path, model: Path) -> tuple[Trainer, list[str]]:
    tokenizer = AutoTokenizer.from_pretrained(model)

    def masked(question: str, answer: str) -> dict[str, list[int]]:
        prompt = tokenizer(f"Q: {question}\nA:")["input_ids"]
        response = tokenizer(f" {answer}")["input_ids"] + [tokenizer.eos_token_id]
        return {"input_ids": prompt + response, "labels": [IGNORE] * len(prompt) + response}

    train, val = ([masked(*pair) for pair in pairs] for pairs in (QUESTIONS, VAL_QUESTIONS))
    train[0]["labels"] = train[0]["input_ids"]  # a row of which all is learnt
    set_seed(0)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    trainer = Trainer(
        get_peft_model(base, LoraConfig(r=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")),
        args=TrainingArguments(output_dir=str(folder / "trainer"), **TRAINING),
        train_dataset=load_rows(write_rows(folder / "train.jsonl", train)),
        eval_dataset=load_rows(write_rows(folder / "val.jsonl", val)),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )
    trainer.train()
    trainer.save_model(str(folder / "adapter"))
    return trainer, []


CLIENTS = {"ids_and_labels": ids_and_labels}
