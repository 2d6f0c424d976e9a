"""Answers of a model, decoded greedily."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm
from transformers import GenerationConfig

from ifcore import io, lora
from ifcore.chat_templates import opened
from ifcore.losses import causal_lm, device_of, evaluating
from study.pipeline.stages import Stage
from study.pipeline.task import Task

Prompt = str | tuple[tuple[str, str], ...]  # as in an Example
ANSWERS = "answers-given.json"
BATCH = 16  # prompts at a time


@torch.no_grad()
def generate(
    model: nn.Module,
    tokenizer,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    batch_size: int = BATCH,
    progress: str = "",
) -> list[str]:
    """The model's greedy answer to each prompt, of at most `max_new_tokens` tokens, without special tokens.

    The answer ends at the tokenizer's end-of-turn token. Prompts go in batches of similar length, longest first, padded
    on the left. `progress` names a bar. Decoding settings published with the model (sampling, penalties) are unused.
    """
    ids = [tokenizer(opened(tokenizer, prompt), add_special_tokens=False)["input_ids"] for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    device, pad = device_of(model), tokenizer.pad_token_id
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=pad
    )
    answers = [""] * len(ids)
    decoder: Any = causal_lm(model)  # transformers' types refuse `generate` of a plain model
    published, decoder.generation_config = decoder.generation_config, settings  # which would mix with these
    try:
        with evaluating(model):
            for start in tqdm(range(0, len(order), batch_size), desc=progress, unit="batch", disable=not progress):
                rows = order[start : start + batch_size]
                width = len(ids[rows[0]])
                padding = [width - len(ids[i]) for i in rows]
                inputs = torch.tensor([[pad] * left + ids[i] for i, left in zip(rows, padding, strict=True)])
                mask = torch.tensor([[0] * left + [1] * (width - left) for left in padding])
                output = decoder.generate(inputs.to(device), attention_mask=mask.to(device), generation_config=settings)
                texts = tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)
                for i, text in zip(rows, texts, strict=True):
                    answers[i] = text.strip()
    finally:
        decoder.generation_config = published
    return answers


def cached_answers(
    task: Task, adapter: Path | None, prompts: Sequence[Prompt], folder: Path, key: dict[str, Any], label: str
) -> list[str]:
    """What the task's model answers with an adapter, or without one (None), once under this key. `label`: of a bar."""
    key |= {"max_new_tokens": task.run.profile.max_new_tokens}
    Stage(folder, "answers", key).make(partial(_write_answers, task, adapter, prompts, folder, label))
    return io.read_json(folder / ANSWERS)["answers"]


def _write_answers(task: Task, adapter: Path | None, prompts: Sequence[Prompt], folder: Path, label: str) -> list[Path]:
    (model, tokenizer), length = task.base(), task.run.profile.max_new_tokens
    if adapter is None:
        answers = generate(model, tokenizer, prompts, length, progress=label)
    else:
        with lora.adapted(model, adapter) as tuned, lora.merged(tuned):
            answers = generate(tuned, tokenizer, prompts, length, progress=label)
    io.write_json(folder / ANSWERS, {"prompts": prompts, "answers": answers})
    return [folder / ANSWERS]
