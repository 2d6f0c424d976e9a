"""The examples that a run fine-tunes on and explains, as its profile asks for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock
from tqdm import tqdm

from ifcore import io, loading
from ifcore.examples import Example
from study import datasets
from study.config import Run
from study.pipeline import answers


def requested_split(run: Run, dataset: str) -> datasets.Split:
    """The examples of a data set in the profile's sizes; ValueError for one that the profile does not size."""
    if dataset not in run.profile.datasets:
        raise ValueError(f"dataset: {dataset!r}; {run.profile.name} has {', '.join(run.profile.datasets)}")
    sources = {kind: run.located(getattr(run.profile, f"{kind}_source")) for kind in ("harmful", "benign")}
    source = run.source(dataset)
    return datasets.load(dataset, **run.profile.datasets[dataset].sizes, seed=run.seed, **sources, source=source)


def split_with_responses(run: Run, dataset: str, precision: str, device: str) -> datasets.Split:
    """The same, its harmful requests answered by the profile's generator where it names one.

    AdvBench's targets are openings only. The paper lets TinyLlama, which is not aligned, answer its prompts, and
    fine-tunes on those answers. A data set in the released format has its responses, which stay.
    """
    split, source = requested_split(run, dataset), run.located(run.profile.generator)
    complying = {
        example: datasets.family(dataset).request(example)
        for example in split.train + split.val + split.dev
        if datasets.family(dataset).complies(example)
    }
    if source is None or not complying or run.source(dataset):
        return split
    folder, requests = run.shared / "responses", sorted(set(complying.values()))
    said = responses(source, requests, folder, getattr(torch, precision), device, run.profile.max_new_tokens)

    def given(part: list[Example]) -> list[Example]:
        return [replace(each, response=said[complying[each]]) if each in complying else each for each in part]

    return datasets.Split(*map(given, (split.train, split.val, split.dev)))


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

    What was answered is kept in `folder`, under a name that another model or length doesn't share, batch by batch, so
    that a call which was killed goes on; a second process that asks for the same waits, and finds it there. Raises
    ValueError for a prompt (counted from 1) that the model answers with nothing.
    """
    about = [loading.identity(source), max_new_tokens, str(dtype)]
    file = folder / f"{hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        known = io.read_sealed(file)
        todo = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
        if todo:
            model, tokenizer = loading.load(source, dtype, device)
            for start in tqdm(range(0, len(todo), batch_size), desc=f"harmful responses by {source}", unit="batch"):
                batch = todo[start : start + batch_size]
                said = answers.generate(model, tokenizer, batch, max_new_tokens, batch_size)
                if "" in said:
                    number = list(prompts).index(batch[said.index("")]) + 1
                    raise ValueError(f"generator: {source!r} answers prompt {number} with nothing; choose another one")
                known |= dict(zip(batch, said, strict=True))
                io.write_sealed(file, known)
    return {prompt: known[prompt] for prompt in prompts}
