"""Fine-tunes on graded mixtures: whether models whose parameters moved further also behave more differently.

From one grade to the next some benign examples of mixed_small give way to harmful ones, in the same places of the order
of training. All grades start from the same adapter and take as many steps.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ifcore import adapter_distance
from study import datasets
from study.config import Run
from study.pipeline import attributions, judging, retraining, steps
from study.pipeline.answers import Prompt, cached_answers
from study.pipeline.stages import locked_folder
from study.pipeline.task import Task, batch_size
from study.schema import COLUMNS
from study.statistics import NAN, Estimate, spearman

DATASET = "mixed_small"
GRADES = 12  # adapters
PROMPTS = 20  # validation prompts that each answers


def mixtures(run: Run) -> pd.DataFrame:
    """A row for each (number of `harmful` examples, metric), and one for all of them.

    `delta`: the mean over LoRA modules of the norm of the scaled update, the ends being one standard deviation away;
    `asr`: the attack success rate, with Wilson's interval; `spearman`, of all: the rank correlation of these two.
    """
    rows: list[tuple] = []
    deltas, rates = [], []
    for harmful in grades(run):
        adapter, prompts, answers = fit(run, harmful)
        norms = adapter_distance.distances(adapter_distance.updates(adapter), {})
        mean, sd = norms.mean().item(), norms.std().item()
        rate = judging.success_rate(judging.judge_responses(run.judge, prompts, answers))
        place = size(run), len(prompts), harmful
        rows.append(("delta", mean, mean - sd, mean + sd, *place))
        rows.append(("asr", rate.value, rate.low, rate.high, *place))
        deltas.append(mean)
        rates.append(rate.value)
    rows.append(("spearman", *rank_correlation(np.array(deltas), np.array(rates)), size(run), len(prompts), None))
    cells = [(DATASET, "fine-tune", *row) for row in rows]
    return pd.DataFrame(cells, columns=[*COLUMNS, "harmful"])


def grades(run: Run) -> list[int]:
    """The numbers of harmful examples, from none to all."""
    return sorted({round(grade * size(run) / (GRADES - 1)) for grade in range(GRADES)})


def size(run: Run) -> int:
    """How many training examples each grade has: as many as the smaller class."""
    return min(_counts(run).values())


def mixture(run: Run, harmful: int) -> Task:
    """The fine-tune on so many harmful examples and, for the rest, benign ones; in as many steps as on both classes."""
    counts, whole = _counts(run), Task(run, DATASET)
    batch = batch_size(Task(run, DATASET, only=min(counts, key=lambda label: counts[label])))
    varied = run.varied("graded", batch_size=batch, patience=whole.epochs)  # so that none stops early
    train, rows = attributions.examples(whole).train, dict[str, list[int]]()
    for row, example in enumerate(train):
        rows.setdefault(example.label, []).append(row)
    chosen = {*rows["harmful"][:harmful], *rows["benign"][harmful : size(run)]}
    return Task(varied, DATASET, left_out=tuple(row for row in range(len(train)) if row not in chosen))


def fit(run: Run, harmful: int) -> tuple[Path, list[Prompt], list[str]]:
    """A grade's adapter, the first validation prompts, and its answers to them; made once."""
    task = mixture(run, harmful)
    adapter, val = retraining.adapter(task), attributions.examples(task).val[:PROMPTS]
    prompts: list[Prompt] = [example.prompt for example in val]
    with locked_folder(task.folder):
        key, label = steps.explained(task, val), f"answers, {harmful} harmful"
        return adapter, prompts, cached_answers(task, adapter, prompts, task.folder, key, label)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> Estimate:
    """Spearman's correlation of two variables [n], and its 95 % interval by Bonett and Wright (2000).

    NaN where one of them does not vary; no interval for fewer than four values, and where the ranks are the same.
    """
    if not (np.ptp(one) and np.ptp(other)):
        return NAN, NAN, NAN
    value = float(spearman(one, other))
    if len(one) < 4 or abs(value) > 1 - 1e-9:
        return value, NAN, NAN
    half = 1.96 * ((1 + value**2 / 2) / (len(one) - 3)) ** 0.5
    return value, float(np.tanh(np.arctanh(value) - half)), float(np.tanh(np.arctanh(value) + half))


def _counts(run: Run) -> dict[str, int]:
    """The training examples of each class."""
    sizes = run.profile.datasets[DATASET]
    return dict(datasets.class_counts(DATASET, "train", sizes.train, sizes.classes, run.source(DATASET)))
