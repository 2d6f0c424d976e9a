"""Accuracy and coverage under every choice, by how much each choice moves them, and whether gradients have hubs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, fields, replace

import numpy as np
import pandas as pd

from ifcore import intervals, metrics
from study import datasets, statistics
from study.chapters.sensitivity.grid import LOSSES, OWN, POSITIONS, STRONGER, Cell, Choice
from study.config import Run
from study.pipeline import checkpoints, judging
from study.pipeline.attributions import METRICS, Attribution, labels, quality
from study.schema import COLUMNS

FINE_TUNE = ["learning_rate", "epochs"]
CHOICE = [field.name for field in fields(Choice)][1:]
GRADIENT_METHODS = ("gradsim", "cosine", "datainf", "lissa", "exact", "relatif")

_NONE = float("nan")
_POSITIONS = {"last": "response's last token", "prompt_mean": "prompt's mean", "response_mean": "response's mean"}

Scores = Mapping[Choice, np.ndarray]


def quality_by_choice(cells: Sequence[tuple[Cell, Scores]]) -> pd.DataFrame:
    """A tidy row for each (data set, learning rate, epochs, choice, metric), with the chance of each data set.

    Metric `task_accuracy` (method `fine-tune`): the share of validation prompts that the fine-tune answers right, and
    (`constant`) that the best constant answer does; `train_loss`: the loss at the end.
    """
    rows = []
    for cell, scores in cells:
        attribution, fine_tune = cell.attribution, (cell.learning_rate, cell.epochs)
        dataset, train, val = attribution.dataset, attribution.train, attribution.val
        for choice, matrix in scores.items():
            for row in quality(dataset, attribution, {choice.method: matrix}):
                rows.append((*row, *fine_tune, *astuple(choice)[1:]))
        chance = metrics.chance(*labels(attribution))
        right = judging.task_accuracy(dataset, val, attribution.after)
        values: list[tuple] = [("chance", metric, chance, None, None) for metric in METRICS]
        values.append(("constant", "task_accuracy", judging.best_constant(dataset, train, val), None, None))
        values.append(("fine-tune", "task_accuracy", right.value, right.low, right.high))
        values.append(("fine-tune", "train_loss", attribution.history.train_loss.iloc[-1], None, None))
        rows += [(dataset, *value, len(train), len(val), *fine_tune) for value in values]
    return pd.DataFrame(rows, columns=[*COLUMNS, *FINE_TUNE, *CHOICE])


def effects(run: Run, cells: Sequence[tuple[Cell, Scores]]) -> pd.DataFrame:
    """By how much each choice moves accuracy and coverage: a row for each (data set, what is chosen, method, metric).

    The change is averaged, validation example by validation example, over the fine-tunes in which both can be had; its
    95 % interval is over those examples, in clusters of those that ask for the same.
    """
    rows = []
    for dataset in dict.fromkeys(cell.attribution.dataset for cell, _ in cells):
        tuned = [(cell, scores) for cell, scores in cells if cell.attribution.dataset == dataset]
        attribution = tuned[0][0].attribution
        classes, clusters = labels(attribution), datasets.requests(dataset, attribution.val)
        for change, method, pairs in _pairs(run, tuned):
            for name, metric in METRICS.items():
                moves = [_values(metric, new, *classes) - _values(metric, old, *classes) for old, new in pairs]
                estimate = statistics.mean_change(np.mean(moves, axis=0), clusters)
                rows.append((dataset, method, name, *estimate, *map(len, classes), change))
    return pd.DataFrame(rows, columns=[*COLUMNS, "change"])


def hubs(run: Run, tasks: Mapping[str, Attribution], cells: Sequence[tuple[Cell, Scores]]) -> pd.DataFrame:
    """How far the largest gradients win every row: a row for each (data set, epoch or fine-tune, method, metric).

    Metric `hub`: the largest share of validation examples that one and the same training example tops, of GradSim and
    of its cosine. Of method `gradients`: `spread`, the largest norm over the median; `norm_loss`, Spearman's
    correlation of norm and loss over training examples; `loss`, their mean loss.
    """
    at = [(run, task, epoch, _NONE, epoch) for task in tasks.values() for epoch in checkpoints.followed_epochs(task)]
    at += [(cell.run, cell.attribution, cell.attribution.epoch, cell.learning_rate, cell.epochs) for cell, _ in cells]
    rows = []
    for varied, attribution, epoch, *fine_tune in at:
        scores = checkpoints.scores(varied, attribution, epoch, ("gradsim", "cosine", "norms", "losses"))
        norms, losses = scores["norms"], scores["losses"]
        values = [(method, "hub", hub_share(scores[method])) for method in ("gradsim", "cosine")]
        values.append(("gradients", "spread", norms.max() / np.median(norms)))
        values.append(("gradients", "norm_loss", float(statistics.spearman(norms, losses))))
        values.append(("gradients", "loss", float(losses.mean())))
        step = attribution.history.set_index("epoch").step[epoch]
        sizes = len(attribution.train), len(attribution.val)
        rows += [(attribution.dataset, *value, _NONE, _NONE, *sizes, *fine_tune, step) for value in values]
    return pd.DataFrame(rows, columns=[*COLUMNS, *FINE_TUNE, "step"])


def hub_share(scores: np.ndarray) -> float:
    """The largest share of the rows of [M, N] that one column tops."""
    return float(np.bincount(scores.argmax(1)).max() / len(scores))


def _pairs(run: Run, cells: Sequence[tuple[Cell, Scores]]) -> Iterator[tuple[str, str, list[tuple]]]:
    """(what is chosen, method, the scores before and after wherever all else is the same)."""
    at = {(cell.learning_rate, cell.epochs): scores for cell, scores in cells}
    rates, lengths = sorted({rate for rate, _ in at}), sorted({epochs for _, epochs in at})
    dampings = {method: None if method in ("gradsim", "cosine") else run.profile.damping for method in GRADIENT_METHODS}
    standard = {method: Choice(method, damping=damping) for method, damping in dampings.items()}  # as chapter 3 scores
    standard["repsim"] = Choice("repsim", position=POSITIONS[0])
    for method, choice in standard.items():
        for rate in rates[1:]:
            change = f"learning rate {rate:g} instead of {rates[0]:g}"
            yield change, method, [(at[rates[0], length][choice], at[rate, length][choice]) for length in lengths]
        for length in lengths[1:]:
            change = f"{length} epochs instead of {lengths[0]}"
            yield change, method, [(at[rate, lengths[0]][choice], at[rate, length][choice]) for rate in rates]
    for change, before, after in _swaps(run, standard):
        yield change, before.method, [(scores[before], scores[after]) for scores in at.values()]


def _swaps(run: Run, standard: Mapping[str, Choice]) -> Iterator[tuple[str, Choice, Choice]]:
    """(what is chosen, the choice as chapter 3 makes it, the other one), within a fine-tune."""
    names = {"all": "loss on all tokens", "padded": "loss on padding, too"}
    for method in GRADIENT_METHODS:
        for loss in LOSSES[1:]:
            yield names[loss], standard[method], replace(standard[method], loss=loss)
        yield "the model's own answer explained", standard[method], replace(standard[method], target=OWN)
    yield "cosine", standard["gradsim"], standard["cosine"]
    for method in ("datainf", "lissa", "exact"):
        yield f"damping × {STRONGER:,}", standard[method], Choice(method, damping=STRONGER * run.profile.damping)
    for position in POSITIONS[1:]:
        yield f"RepSim at the {_POSITIONS[position]}", standard["repsim"], Choice("repsim", position=position)


def _values(metric: Callable[..., intervals.Share], scores: np.ndarray, train: list[str], val: list[str]) -> np.ndarray:
    """The metric of each validation example by itself, [M]."""
    return np.array([metric(row[None], train, [label]).value for row, label in zip(scores, val, strict=True)])
