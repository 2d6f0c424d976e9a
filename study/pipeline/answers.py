"""Answers of a model, decoded greedily."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from tqdm import tqdm
from transformers import GenerationConfig

from ifcore.examples import chat
from ifcore.losses import causal_lm, device_of, evaluating

Prompt = str | tuple[tuple[str, str], ...]  # as in an Example


@torch.no_grad()
def generate(
    model: nn.Module,
    tokenizer,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    batch_size: int = 16,
    progress: str = "",
) -> list[str]:
    """The model's greedy answer to each prompt, of at most `max_new_tokens` tokens, without special tokens.

    The answer ends at the tokenizer's end-of-turn token. Prompts go in batches of similar length, longest first, padded
    on the left. `progress` names a bar. Decoding settings published with the model (sampling, penalties) are unused.
    """
    ids = [tokenizer(chat(tokenizer, prompt), add_special_tokens=False)["input_ids"] for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda i: (-len(ids[i]), i))
    device, pad = device_of(model), tokenizer.pad_token_id
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=pad
    )
    answers = [""] * len(ids)
    with _answering(model, settings) as decoder:
        for start in tqdm(range(0, len(order), batch_size), desc=progress, unit="batch", disable=not progress):
            rows = order[start : start + batch_size]
            width = len(ids[rows[0]])
            padding = [width - len(ids[i]) for i in rows]
            inputs = torch.tensor([[pad] * left + ids[i] for i, left in zip(rows, padding, strict=True)])
            mask = torch.tensor([[0] * left + [1] * (width - left) for left in padding])
            ids_out = decoder.generate(inputs.to(device), attention_mask=mask.to(device), generation_config=settings)
            for i, text in zip(rows, tokenizer.batch_decode(ids_out[:, width:], skip_special_tokens=True), strict=True):
                answers[i] = text.strip()
    return answers


@contextmanager
def _answering(
    model: nn.Module, settings: GenerationConfig
) -> Iterator[Any]:  # transformers' types refuse `generate` of a plain model
    """The model inside any PEFT wrapper, without dropout; its published settings don't mix with `settings`."""
    decoder = causal_lm(model)
    published, decoder.generation_config = decoder.generation_config, settings
    try:
        with evaluating(model):
            yield decoder
    finally:
        decoder.generation_config = published
