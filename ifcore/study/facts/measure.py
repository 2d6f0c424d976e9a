"""Who finds the one training example that states a fact, and whether removing it shows that it was the cause."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ifcore import metrics
from ifcore.study import statistics
from ifcore.study.config import Run
from ifcore.study.data import facts
from ifcore.study.runs import retrained
from ifcore.study.runs.artifact import Attribution, quality
from ifcore.study.runs.task import Task
from ifcore.study.show.names import COLUMNS

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
    """What removing a fact's one example does: a tidy row for each (what is removed, metric).

    The first `facts_removed` facts are left out one at a time and the model fine-tuned again from the same start. For
    the questions about them: `rise` (method `cause`, `place`, `relation`, `other`), by how much the loss of the
    question rises where its own cause is removed, or another one of its place, …; `confirmed`, the share whose loss
    rises more without the cause than without any other of those removed.
    """
    shared, task = _shared(found), Task(run, found.dataset)
    removed = list(range(min(run.profile.facts_removed, len(found.train))))
    before = retrained.losses(task)
    after = [retrained.losses(Task(run, found.dataset, left_out=(row,))) for row in removed]
    rises = np.stack(after, axis=1) - before[:, None]
    asked = [row for row in range(len(found.val)) if (shared[row, removed] == 0).any()]
    kinds, rises = shared[np.ix_(asked, removed)], rises[asked]  # [questions, removed]
    labels, sizes, rows = [found.val[row].label for row in asked], (len(found.train), len(asked)), []
    confirmed = (rises.argmax(1) == kinds.argmin(1)).astype(float)
    share = metrics.share(confirmed, labels)
    rows.append((found.dataset, "cause", "confirmed", share.value, share.low, share.high, *sizes))
    rows.append((found.dataset, "chance", "confirmed", 1 / len(removed), None, None, *sizes))
    for kind, name in enumerate(KINDS):
        if (kinds == kind).any():
            known = (kinds == kind).any(1)
            means = np.where(kinds == kind, rises, 0).sum(1)[known] / (kinds == kind).sum(1)[known]
            gap = statistics.mean_change(means, [label for label, there in zip(labels, known, strict=True) if there])
            rows.append((found.dataset, name, "rise", *gap, *sizes))
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
