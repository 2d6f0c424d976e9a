"""Compute or load: from the examples of a data set to an adapter, answers, gradients and scores."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ifcore import io, metrics
from ifcore.examples import Example
from study import datasets, statistics
from study.config import Run
from study.datasets import Split
from study.pipeline import base_model, model_sources, requested_examples, steps
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task, checkpoint
from study.statistics import Estimate

Measures = Mapping[str, statistics.Metric]
METRICS: Measures = {"accuracy": metrics.accuracy, "coverage": metrics.coverage}


@dataclass(frozen=True)
class Tuned:
    """A fine-tune and what it says.

    `history`: a row an epoch, 0 being the untouched adapter, with train_loss (empty for epoch 0) and dev_loss (empty
    without dev examples). `epoch`: the checkpoint used from here on, the last. `before`, `after`: the answers to the
    validation prompts without (empty for a part of a data set) and with that adapter. `seconds`: how long each stage
    took when it was computed.
    """

    dataset: str
    train: list[Example]
    val: list[Example]
    folder: Path
    history: pd.DataFrame
    epoch: int
    before: list[str]
    after: list[str]
    seconds: dict[str, float]
    tokens: dict[str, int]
    precision: str
    device: str

    @property
    def checkpoint(self) -> Path:
        """The adapter of the epoch used."""
        return checkpoint(self.folder, self.epoch)


@dataclass(frozen=True)
class Attribution(Tuned):
    """A fine-tune and its scores: method -> [M, N], higher = more influential."""

    scores: dict[str, np.ndarray]


def compute_attribution(run: Run, dataset: str) -> Attribution:
    """The way from examples to scores; every step is made once and kept.

    A second process that asks for the same waits for the first. Raises ValueError, in one line, for a data set that
    the profile does not size and for anything wrong with the model or the data, before anything is written.
    """
    task = Task(run, dataset)
    split = examples(task)  # 1 of 5
    with locked_folder(task.folder):
        tuning, history = steps.fine_tune(task, split)  # 2 of 5: an adapter an epoch, of which the last is used
        epoch = int(history.epoch.max())
        answering = steps.generate_answers(task, split, epoch)  # 3 of 5: to the validation prompts, before and after
        gradients = steps.compute_gradients(task, split, epoch)  # 4 of 5: with the hidden state of each example
        scoring = steps.score(task)  # 5 of 5
        fields = _fields(task, split, history, (tuning, answering, gradients, scoring))
        return Attribution(**fields, scores=steps.read_scores(task.folder, run.profile.methods))


def compute_attributions(run: Run, names: Iterable[str]) -> dict[str, Attribution]:
    """Name -> attribution, for those of `names` that the profile sizes."""
    return {name: compute_attribution(run, name) for name in names if name in run.profile.datasets}


def tune(task: Task) -> Tuned:
    """The first three steps of `compute_attribution`: a fine-tune and its answers, without scores."""
    split = examples(task)
    with locked_folder(task.folder):
        tuning, history = steps.fine_tune(task, split)
        answering = steps.generate_answers(task, split, int(history.epoch.max()))
        return Tuned(**_fields(task, split, history, (tuning, answering)))


def scored(task: Task) -> tuple[Split, dict[str, np.ndarray]]:
    """The examples of a task and method -> scores [M, N]: the same way without the answers."""
    split = examples(task)
    with locked_folder(task.folder):
        _, history = steps.fine_tune(task, split)
        steps.compute_gradients(task, split, int(history.epoch.max()))
        steps.score(task)
        return split, steps.read_scores(task.folder, task.run.profile.methods)


def select_val(attribution: Attribution, selected: Sequence[bool]) -> Attribution:
    """The same of some of the examples that are explained."""
    scores = {method: array[list(selected)] for method, array in attribution.scores.items()}
    return replace(attribution, val=list(compress(attribution.val, selected)), scores=scores)


def labels(explained: Tuned | Split) -> tuple[list[str], list[str]]:
    """The classes of the examples trained on and explained."""
    train, val = ([example.label for example in part] for part in (explained.train, explained.val))
    return train, val


def quality(
    dataset: str, explained: Tuned | Split, scores: Mapping[str, Any], measures: Measures = METRICS
) -> Iterator[tuple]:
    """Accuracy and coverage, or other `measures`, of each method's scores [M, N] for what is trained on and explained.

    Those that ask for the same are a cluster of the interval.

    Yields the first eight cells of a tidy row: data set, method, metric, value, ci_low, ci_high, n_train, n_val.
    """
    (train, val), clusters = labels(explained), datasets.requests(dataset, explained.val)
    for method, array in scores.items():
        for name, metric in measures.items():
            share = metric(array, train, val, clusters)
            yield dataset, method, name, share.value, share.low, share.high, len(train), len(val)


def change(
    dataset: str, explained: Tuned | Split, before: Any, after: Any, measures: Measures = METRICS
) -> dict[str, Estimate]:
    """Metric -> by how much each of `measures` is higher for the scores `after` than `before`, [M, N], paired.

    Those that ask for the same are a cluster of the interval.
    """
    clusters = datasets.requests(dataset, explained.val)
    return {
        name: statistics.change(metric, before, after, *labels(explained), clusters)
        for name, metric in measures.items()
    }


def examples(task: Task) -> Split:
    """What the task is fine-tuned on and explains. Checks the model's source first: nothing is written before."""
    model_sources.check(task.source)
    split = requested_examples.split_with_responses(task.run, task.dataset, task.precision, base_model.device())
    train = [example for row, example in enumerate(split.train) if row not in task.left_out]
    train, dev = ([example for example in part if task.only in (None, example.label)] for part in (train, split.dev))
    return Split(train, split.val, dev)


def _fields(task: Task, split: Split, history: pd.DataFrame, stages: Iterable[Stage]) -> dict[str, Any]:
    responses, texts = (io.read_json(task.folder / f"{name}.json") for name in ("responses", "examples"))
    return {
        "dataset": task.dataset,
        "train": split.train,
        "val": split.val,
        "folder": task.folder,
        "history": history,
        "epoch": int(history.epoch.max()),
        **responses["answers"],
        "seconds": {stage.name: stage.record["seconds"] for stage in stages},
        "tokens": texts["tokens"] | responses["tokens"],
        "precision": task.precision,
        "device": base_model.device(),
    }
