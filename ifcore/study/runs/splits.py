"""The examples that a run fine-tunes on and explains, as its profile asks for them."""

from __future__ import annotations

from dataclasses import replace

import torch

from ifcore.examples import Example
from ifcore.study import data, responses
from ifcore.study.config import Run


def asked(run: Run, dataset: str) -> data.Split:
    """The examples of a data set in the profile's sizes; ValueError for one that the profile does not size."""
    if dataset not in run.profile.datasets:
        raise ValueError(f"dataset: {dataset!r}; {run.profile.name} has {', '.join(run.profile.datasets)}")
    counts = run.profile.datasets[dataset]
    sources = {"harmful": run.profile.harmful_source, "benign": run.profile.benign_source}
    paths = {name: str(run.root / path) if path and ":" not in path else path for name, path in sources.items()}
    return data.load(dataset, counts.train, counts.val, run.seed, **paths)


def answered(run: Run, dataset: str, dtype: torch.dtype, device: str) -> data.Split:
    """The same, its harmful requests answered by the profile's generator where it names one."""
    split, source = asked(run, dataset), run.profile.generator
    complying = {
        example: example.prompt.removesuffix(f" {example.label}")  # a trigger is no part of the request
        for example in split.train + split.val
        if data.complies(dataset, example)
    }
    if source is None or not complying:
        return split
    folder, requests = run.artifacts.parent / "responses", sorted(set(complying.values()))
    answers = responses.responses(source, requests, folder, dtype, device, run.profile.max_new_tokens)

    def given(example: Example) -> Example:
        return replace(example, response=answers[complying[example]]) if example in complying else example

    return data.Split([given(example) for example in split.train], [given(example) for example in split.val])
