"""Accuracy and coverage under every choice, by how much each choice moves them, and whether gradients have hubs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, fields, replace

import numpy as np
import pandas as pd

from ifcore import metrics
from study import correlation, datasets, statistics
from study.chapters.sensitivity.grid import LOSSES, OWN, POSITIONS, STRONGER, Cell, Choice
from study.config import Run
from study.pipeline import checkpoints, judging
from study.pipeline.attributions import Attribution, quality
from study.report.names import COLUMNS

WHERE = ["learning_rate", "epochs"]
HOW = [field.name for field in fields(Choice)][1:]
FOLLOWED = ("gradsim", "cosine", "datainf", "lissa", "exact", "relatif")  # methods of gradients

_NONE = float("nan")

Scored = Mapping[Choice, np.ndarray]


def everything(cells: Sequence[tuple[Cell, Scored]]) -> pd.DataFrame:
    """A tidy row for each (data set, learning rate, epochs, choice, metric), with the chance of each data set.

    Metric `task_accuracy` (method `fine-tune`): the share of validation prompts that the fine-tune answers right, and
    (`constant`) that the best constant answer does; `train_loss`: the loss at the end.
    """
    rows = []
    for cell, scored in cells:
        found, where = cell.found, (cell.learning_rate, cell.epochs)
        sizes = len(found.train), len(found.val)
        for choice, each in scored.items():
            how = astuple(choice)[1:]
            rows += [(*row, *where, *how) for row in quality(found.dataset, found, {choice.method: each})]
        chance = metrics.chance(*([example.label for example in part] for part in (found.train, found.val)))
        for metric in ("accuracy", "coverage"):
            rows.append((found.dataset, "chance", metric, chance, None, None, *sizes, *where))
        constant = judging.best_constant(found.dataset, found.train, found.val)
        rows.append((found.dataset, "constant", "task_accuracy", constant, None, None, *sizes, *where))
        right = judging.task_accuracy(found.dataset, found.val, found.after)
        rows.append((found.dataset, "fine-tune", "task_accuracy", right.value, right.low, right.high, *sizes, *where))
        loss = found.history.train_loss.iloc[-1]
        rows.append((found.dataset, "fine-tune", "train_loss", loss, None, None, *sizes, *where))
    return pd.DataFrame(rows, columns=[*COLUMNS, *WHERE, *HOW])


def effects(run: Run, cells: Sequence[tuple[Cell, Scored]]) -> pd.DataFrame:
    """By how much each choice moves accuracy and coverage: a row for each (data set, what is chosen, method, metric).

    The change is averaged over the fine-tunes in which both can be had, validation example by validation example, of
    which its 95 % interval is; those that ask for the same are a cluster.
    """
    rows = []
    for dataset in dict.fromkeys(cell.found.dataset for cell, _ in cells):
        of = [(cell, scored) for cell, scored in cells if cell.found.dataset == dataset]
        found = of[0][0].found
        labels = [[example.label for example in part] for part in (found.train, found.val)]
        clusters = datasets.requests(found.dataset, found.val)
        for name, method, pairs in _pairs(run, of):
            for metric in (metrics.accuracy, metrics.coverage):
                changes = [_values(metric, b, *labels) - _values(metric, a, *labels) for a, b in pairs]
                if changes:
                    gap = statistics.mean_change(np.mean(changes, axis=0), clusters)
                    rows.append((dataset, method, metric.__name__, *gap, *map(len, labels), name))
    return pd.DataFrame(rows, columns=[*COLUMNS, "change"])


def hubs(run: Run, tasks: Mapping[str, Attribution], cells: Sequence[tuple[Cell, Scored]]) -> pd.DataFrame:
    """How far the largest gradients win every row: a row for each (data set, epoch or fine-tune, method, metric).

    Metric `hub`: the largest share of validation examples that one and the same training example tops, of GradSim and
    of its cosine. Of method `gradients`: `spread`, the largest norm over the median; `norm_loss`, Spearman's
    correlation of norm and loss over training examples; `loss`, their mean loss.
    """
    rows = []
    for found in tasks.values():
        steps = found.history.set_index("epoch").step
        for epoch in checkpoints.followed_epochs(found):
            kept = checkpoints.scores(run, found, epoch, ("gradsim", "cosine", "norms", "losses"))
            rows += [(*row, _NONE, epoch, steps[epoch]) for row in _hubs(found, kept)]
    for cell, _ in cells:
        found, rate = cell.found, cell.learning_rate
        kept = checkpoints.scores(cell.run, found, found.epoch, ("gradsim", "cosine", "norms", "losses"))
        last = found.history.step.iloc[-1]
        rows += [(*row, rate, cell.epochs, last) for row in _hubs(found, kept)]
    return pd.DataFrame(rows, columns=[*COLUMNS, *WHERE, "step"])


def hub(scores: np.ndarray) -> float:
    """The largest share of the rows of [M, N] that one column tops."""
    return float(np.bincount(scores.argmax(1)).max() / len(scores))


def _hubs(found: Attribution, kept: Mapping[str, np.ndarray]) -> Iterator[tuple]:
    sizes, norms, losses = (len(found.train), len(found.val)), kept["norms"], kept["losses"]
    for method in ("gradsim", "cosine"):
        yield found.dataset, method, "hub", hub(kept[method]), _NONE, _NONE, *sizes
    yield found.dataset, "gradients", "spread", norms.max() / np.median(norms), _NONE, _NONE, *sizes
    yield found.dataset, "gradients", "norm_loss", float(correlation.spearman(norms, losses)), _NONE, _NONE, *sizes
    yield found.dataset, "gradients", "loss", float(losses.mean()), _NONE, _NONE, *sizes


def _pairs(run: Run, cells: Sequence[tuple[Cell, Scored]]) -> Iterator[tuple[str, str, list[tuple]]]:
    """(what is chosen, method, the scores before and after wherever all else is the same)."""
    at = {(cell.learning_rate, cell.epochs): scored for cell, scored in cells}
    rates, lengths = (sorted({key[axis] for key in at}) for axis in (0, 1))
    standard = {method: _standard(run, method) for method in (*FOLLOWED, "repsim")}
    for method, choice in standard.items():
        for rate in rates[1:]:
            name = f"learning rate {rate:g} instead of {rates[0]:g}"
            yield name, method, [(at[rates[0], length][choice], at[rate, length][choice]) for length in lengths]
        for length in lengths[1:]:
            name = f"{length} epochs instead of {lengths[0]}"
            yield name, method, [(at[rate, lengths[0]][choice], at[rate, length][choice]) for rate in rates]
    for name, before, after in _swaps(run, standard):
        yield name, before.method, [(scored[before], scored[after]) for scored in at.values()]


def _swaps(run: Run, standard: Mapping[str, Choice]) -> Iterator[tuple[str, Choice, Choice]]:
    """(what is chosen, the choice as chapter 3 makes it, the other one), within a fine-tune."""
    words = {"all": "loss on all tokens", "padded": "loss on padding, too"}
    for method in FOLLOWED:
        for loss in LOSSES[1:]:
            yield words[loss], standard[method], replace(standard[method], loss=loss)
        yield "the model's own answer explained", standard[method], replace(standard[method], target=OWN)
    yield "cosine", standard["gradsim"], standard["cosine"]
    for method in ("datainf", "lissa", "exact"):
        yield f"damping × {STRONGER:,}", standard[method], Choice(method, damping=STRONGER * run.profile.damping)
    for position in POSITIONS[1:]:
        yield f"RepSim at the {_PLACES[position]}", standard["repsim"], Choice("repsim", position=position)


_PLACES = {"last": "response's last token", "prompt_mean": "prompt's mean", "response_mean": "response's mean"}


def _standard(run: Run, method: str) -> Choice:
    """How chapter 3 scores."""
    if method == "repsim":
        return Choice(method, position=POSITIONS[0])
    return Choice(method) if method in ("gradsim", "cosine") else Choice(method, damping=run.profile.damping)


def _values(metric, scores: np.ndarray, train: Sequence[str], val: Sequence[str]) -> np.ndarray:
    """The metric of each validation example by itself, [M]."""
    return np.array([metric(row[None], train, [label]).value for row, label in zip(scores, val, strict=True)])
