"""Who finds the one training example that states a fact, and whether removing it shows that it was the cause."""

import numpy as np
import pandas as pd

from ifcore import intervals
from study import statistics
from study.config import Run
from study.datasets import facts
from study.methods import BASELINES
from study.pipeline import retraining
from study.pipeline.attributions import Attribution, quality
from study.pipeline.task import Task
from study.schema import COLUMNS, ITSELF

KINDS = ("cause", "place", "relation", "other")  # what a training example shares with a question


def retrieval(attribution: Attribution) -> pd.DataFrame:
    """How well each method finds the training example that states the fact: tidy rows.

    `accuracy` and `coverage` are equal here, a fact being stated once. `top_cause`, `top_place`, `top_relation`,
    `top_other`: the share of questions whose top training example states the fact, another one of its place or of its
    relation, or one that shares neither. `hard`: the share whose cause outranks all that share its place.
    `hard_auc`: the share of these that the cause outranks, mean over questions; ties count half. Intervals are over
    facts, whose paraphrases are a cluster. Against each of the baselines stands by how much a method has more of
    `hard_auc`, paired by question; against `ITSELF`, the method's own value.
    """
    shared, questions = _shared(attribution), [example.label for example in attribution.val]
    sizes, cells = (len(attribution.train), len(attribution.val)), list[tuple]()
    auc = {method: _hard_auc(scores, shared) for method, scores in attribution.scores.items()}
    for method, scores in attribution.scores.items():
        cells += [(*row[1:6], ITSELF) for row in quality(attribution.dataset, attribution, {method: scores})]
        top = scores == scores.max(1, keepdims=True)  # of examples that tie for the top, each counts its part
        hits = {f"top_{name}": (top & (shared == kind)).sum(1) / top.sum(1) for kind, name in enumerate(KINDS)}
        for metric, values in (hits | {"hard": _hard(scores, shared), "hard_auc": auc[method]}).items():
            share = intervals.share(values, questions)
            cells.append((method, metric, share.value, share.low, share.high, ITSELF))
        for against in (name for name in BASELINES if name in auc and method not in BASELINES):
            gap = statistics.mean_change(auc[method] - auc[against], questions)
            cells.append((method, "hard_auc", *gap, against))
    same_place = 1 + (shared == KINDS.index("place")).sum(1)
    chances = {"accuracy": 1 / sizes[0], "coverage": 1 / sizes[0], "hard": (1 / same_place).mean(), "hard_auc": 0.5}
    cells += [("chance", metric, chance, None, None, ITSELF) for metric, chance in chances.items()]
    rows = [(attribution.dataset, *cell[:5], *sizes, cell[5]) for cell in cells]
    return pd.DataFrame(rows, columns=[*COLUMNS, "against"])


def removal(run: Run, attribution: Attribution) -> pd.DataFrame:
    """What removing a fact's one example does: a tidy row for each metric.

    The first `facts_removed` facts are left out one at a time and the model fine-tuned again from the same start. For
    the questions about them: `rise`, by how much the loss of a question is higher without its own cause than it is, on
    average, without another of those removed, so that what fewer examples and another shuffle do counts on both sides;
    `confirmed`, the share whose loss is highest without the cause.
    """
    dataset, train = attribution.dataset, attribution.train
    tasks = removed(run, len(train))
    causes = [train[row].label for task in tasks for row in task.left_out]
    after = retraining.map_tasks(retraining.losses, tasks, "facts left out")
    asked_about = [row for row, example in enumerate(attribution.val) if example.label in causes]
    questions = [attribution.val[row].label for row in asked_about]
    losses = np.stack(after, axis=1)[asked_about]  # [questions, removed]
    is_cause = np.array([[label == cause for cause in causes] for label in questions])
    rises = losses[is_cause] - np.where(is_cause, 0, losses).sum(1) / (len(causes) - 1)
    share = intervals.share((losses.argmax(1) == is_cause.argmax(1)).astype(float), questions)
    cells = [
        ("cause", "confirmed", share.value, share.low, share.high),
        ("chance", "confirmed", 1 / len(causes), None, None),
        ("cause", "rise", *statistics.mean_change(rises, questions)),
    ]
    rows = [(dataset, *cell, len(train), len(questions), ITSELF) for cell in cells]
    return pd.DataFrame(rows, columns=[*COLUMNS, "against"])


def removed(run: Run, size: int) -> list[Task]:
    """The fine-tunes on all but one fact, of `size` in all."""
    return [Task(run, "facts", left_out=(row,)) for row in range(min(run.profile.facts_removed, size))]


def _shared(attribution: Attribution) -> np.ndarray:
    """What each training example shares with each question, as an index into KINDS, [M, N]."""
    train = np.array([facts.place_and_relation(example.label) for example in attribution.train])
    val = np.array([facts.place_and_relation(example.label) for example in attribution.val])
    place, relation = np.moveaxis(val[:, None] == train, -1, 0)
    return np.select([place & relation, place, relation], [0, 1, 2], 3)


def _hard(scores: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Whether the cause outranks all others of its place, [M]; ties by the share of orders in which it does."""
    cause, others = scores[shared == 0][:, None], shared == 1  # each question has one cause
    ties = (others & (scores == cause)).sum(1)
    return np.where((others & (scores > cause)).any(1), 0, 1 / (1 + ties))


def _hard_auc(scores: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """The share of the others of its place that the cause outranks, [M]; ties count half; 0.5 where it has none."""
    cause, others = scores[shared == 0][:, None], shared == 1
    lead = (others & (scores < cause)).sum(1) - (others & (scores > cause)).sum(1)
    return 0.5 + 0.5 * lead / np.maximum(others.sum(1), 1)
