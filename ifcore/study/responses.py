"""Harmful responses written by another model.

AdvBench's targets are openings only. The paper lets TinyLlama, which is not aligned, answer its prompts, and fine-tunes
on those answers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from filelock import FileLock
from tqdm import tqdm

from ifcore import models
from ifcore.study import asr, files


def responses(
    source: str,
    prompts: Sequence[str],
    folder: Path,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    max_new_tokens: int = 64,
    batch_size: int = 16,
) -> dict[str, str]:
    """prompt -> the greedy answer of the model that `source` names.

    What was answered is kept in `folder`, under a name that another source or length doesn't share, batch by batch, so
    that a call which was killed goes on; a second process that asks for the same waits, and finds it there. Raises
    ValueError for a prompt (counted from 1) that the model answers with nothing.
    """
    key = hashlib.sha256(json.dumps([source, max_new_tokens, str(dtype)]).encode()).hexdigest()[:16]
    file = folder / f"{key}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        known = files.read_json(file)
        todo = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        if todo:
            model, tokenizer = models.load(source, dtype, device)
            for start in tqdm(range(0, len(todo), batch_size), desc=f"harmful responses by {source}", unit="batch"):
                batch = todo[start : start + batch_size]
                answers = asr.generate(model, tokenizer, batch, max_new_tokens, batch_size)
                if "" in answers:
                    number = list(prompts).index(batch[answers.index("")]) + 1
                    raise ValueError(f"generator: {source!r} answers prompt {number} with nothing; choose another one")
                known |= dict(zip(batch, answers, strict=True))
                files.write_json(file, known)
    return {prompt: known[prompt] for prompt in prompts}
