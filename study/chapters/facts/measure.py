"""Who finds the one training example that states a fact, and whether removing it shows that it was the cause."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ifcore import metrics
from study import statistics
from study.config import Run
from study.datasets import facts
from study.pipeline import retraining
from study.pipeline.attributions import Attribution, quality
from study.pipeline.task import Task
from study.report.names import COLUMNS

KINDS = ("cause", "place", "relation", "other")  # what a training example shares with a question


def found_by(found: Attribution) -> pd.DataFrame:
    """A tidy row for each (method, metric): accuracy and coverage, which are the same thing here, a fact being stated
    once; `top_cause`, `top_place`, `top_relation`, `top_other`, the share of questions for which the training example
    on top states the fact, another one of its place or of its relation, or one that shares neither; `hard`, the share
    for which the cause outranks all that share its place. Intervals are over facts, whose paraphrases are a cluster.
    """
    shared = _shared(found)
    labels = [example.label for example in found.val]
    sizes, rows = (len(found.train), len(found.val)), []
    for method, scores in found.scores.items():
        rows += quality(found.dataset, found, {method: scores})
        top = scores == scores.max(1, keepdims=True)
        for kind, name in enumerate(KINDS):  # of examples that tie for the top, each counts its part
            share = metrics.share((top & (shared == kind)).sum(1) / top.sum(1), labels)
            rows.append((found.dataset, method, f"top_{name}", share.value, share.low, share.high, *sizes))
        hard = metrics.share(_hard(scores, shared), labels)
        rows.append((found.dataset, method, "hard", hard.value, hard.low, hard.high, *sizes))
    mates = 1 + (shared == KINDS.index("place")).sum(1)
    for metric, value in (("accuracy", 1 / sizes[0]), ("coverage", 1 / sizes[0]), ("hard", (1 / mates).mean())):
        rows.append((found.dataset, "chance", metric, value, None, None, *sizes))
    return pd.DataFrame(rows, columns=COLUMNS)


def removal(run: Run, found: Attribution) -> pd.DataFrame:
    """What removing a fact's one example does: a tidy row for each metric.

    The first `facts_removed` facts are left out one at a time and the model fine-tuned again from the same start. For
    the questions about them: `rise`, by how much the loss of a question is higher without its own cause than it is, on
    average, without another of those removed, so that what fewer examples and another shuffle do counts on both sides;
    `confirmed`, the share whose loss is highest without the cause.
    """
    removed = range(min(run.profile.facts_removed, len(found.train)))
    after = [retraining.losses(Task(run, found.dataset, left_out=(row,))) for row in removed]
    causes = [found.train[row].label for row in removed]
    asked = [row for row, example in enumerate(found.val) if example.label in causes]
    labels = [found.val[row].label for row in asked]
    losses = np.stack(after, axis=1)[asked]  # [questions, removed]
    own = np.array([[label == cause for cause in causes] for label in labels])
    rises = losses[own] - np.where(own, 0, losses).sum(1) / (len(causes) - 1)
    share = metrics.share((losses.argmax(1) == own.argmax(1)).astype(float), labels)
    sizes = len(found.train), len(asked)
    rows = [
        (found.dataset, "cause", "confirmed", share.value, share.low, share.high, *sizes),
        (found.dataset, "chance", "confirmed", 1 / len(causes), None, None, *sizes),
        (found.dataset, "cause", "rise", *statistics.mean_change(rises, labels), *sizes),
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _shared(found: Attribution) -> np.ndarray:
    """What each training example shares with each question, as a place in KINDS, [M, N]."""
    train, val = ([facts.about(example.label) for example in part] for part in (found.train, found.val))
    same = np.array([[[a == b for a, b in zip(of, asked, strict=True)] for of in train] for asked in val])
    place, relation = same[..., 0], same[..., 1]
    return np.where(place & relation, 0, np.where(place, 1, np.where(relation, 2, 3)))


def _hard(scores: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """Whether the cause outranks all others of its place, [M]; ties by the share of orders in which it does."""
    hits = []
    for row, of in zip(scores, shared, strict=True):
        cause, mates = row[of == 0][0], row[of == 1]
        hits.append(0.0 if (mates > cause).any() else 1 / (1 + (mates == cause).sum()))
    return np.array(hits)
