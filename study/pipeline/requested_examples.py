"""Splits: the examples that a run fine-tunes on and explains, in the sizes of its profile."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock
from tqdm import tqdm

from ifcore import io
from study import datasets
from study.config import Run
from study.pipeline import answers, model_sources


def requested_split(run: Run, dataset: str) -> datasets.Split:
    """The examples of a data set in the profile's sizes; ValueError for one that the profile does not size."""
    if dataset not in run.profile.datasets:
        raise ValueError(f"dataset: {dataset!r}; {run.profile.name} has {', '.join(run.profile.datasets)}")
    harmful, benign = (run.located(getattr(run.profile, f"{kind}_source")) for kind in ("harmful", "benign"))
    sizes, source = run.profile.datasets[dataset].sizes, run.source(dataset)
    return datasets.load(dataset, **sizes, seed=run.seed, harmful=harmful, benign=benign, source=source)


def split_with_responses(run: Run, dataset: str, precision: str, device: str) -> datasets.Split:
    """The same, its harmful requests answered by the profile's generator where it names one.

    AdvBench's targets are openings only. The paper lets TinyLlama, which is not aligned, answer its prompts, and
    fine-tunes on those answers. A data set in the released format has its responses, which stay.
    """
    split, source, family = requested_split(run, dataset), run.located(run.profile.generator), datasets.family(dataset)
    examples = split.train + split.val + split.dev
    requests = {example: family.request(example) for example in examples if family.complies(example)}
    if source is None or not requests or run.source(dataset):
        return split
    prompts, dtype, length = sorted(set(requests.values())), getattr(torch, precision), run.profile.max_new_tokens
    responses = generated_responses(source, prompts, run.shared / "responses", dtype, device, length)
    answered = {example: replace(example, response=responses[request]) for example, request in requests.items()}
    parts = split.train, split.val, split.dev
    return datasets.Split(*([answered.get(example, example) for example in part] for part in parts))


def generated_responses(
    source: str,
    prompts: Sequence[str],
    folder: Path,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    max_new_tokens: int = 64,
    batch_size: int = 16,
) -> dict[str, str]:
    """prompt -> the greedy answer of the model that `source` names.

    A file in `folder` keeps them batch by batch: a call that was killed goes on, a second process waits and reads them.
    Raises ValueError for a prompt (counted from 1) that the model answers with nothing.
    """
    key = [model_sources.identity(source), max_new_tokens, str(dtype)]
    file = folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.lock"):
        responses = io.read_sealed(file)
        todo = [prompt for prompt in dict.fromkeys(prompts) if prompt not in responses]
        if todo:
            model, tokenizer = model_sources.load(source, dtype, device)
            for start in tqdm(range(0, len(todo), batch_size), desc=f"harmful responses by {source}", unit="batch"):
                batch = todo[start : start + batch_size]
                texts = answers.generate(model, tokenizer, batch, max_new_tokens, batch_size)
                if "" in texts:
                    number = list(prompts).index(batch[texts.index("")]) + 1
                    raise ValueError(f"generator: {source!r} answers prompt {number} with nothing; choose another one")
                responses |= dict(zip(batch, texts, strict=True))
                io.write_sealed(file, responses)
    return {prompt: responses[prompt] for prompt in prompts}
