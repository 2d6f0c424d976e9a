"""Attribution along fine-tuning, from the checkpoints that section 3 left."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from ifcore.study import statistics
from ifcore.study.config import Run
from ifcore.study.runs import checkpoints
from ifcore.study.runs.artifact import Attribution, quality
from ifcore.study.show.names import COLUMNS


def along(run: Run, tasks: Mapping[str, Attribution]) -> pd.DataFrame:
    """Figure 5: a row for each (data set, epoch, method, metric), with the step that the epoch ended at.

    Metrics: `accuracy` and `coverage` with their intervals; `stability`, the mean over validation examples of the
    rank correlation of a row of scores with that of the checkpoint before, with a 95 % t-interval (empty at the first
    checkpoint, and where all scores of a row are equal); `train_loss` and `dev_loss` (method `loss`).
    """
    rows = []
    for dataset, found in tasks.items():
        steps = found.history.set_index("epoch").step
        sizes = len(found.train), len(found.val)
        before: dict[str, np.ndarray] = {}
        for epoch in checkpoints.chosen(found):
            scores = checkpoints.scores(run, found, epoch)
            for method, each in scores.items():
                rows += [(*row, epoch, steps[epoch]) for row in quality(dataset, found, {method: each})]
                if method in before:
                    value = stability(before[method], each)
                    rows.append((dataset, method, "stability", *value, *sizes, epoch, steps[epoch]))
            before = scores
        for row in found.history.itertuples():
            for metric in ("train_loss", "dev_loss"):
                rows.append((dataset, "loss", metric, getattr(row, metric), None, None, *sizes, row.epoch, row.step))
    return pd.DataFrame(rows, columns=[*COLUMNS, "epoch", "step"])


def stability(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Mean over rows of Spearman's correlation of two score matrices [M, N], and its 95 % t-interval.

    Rows without variation have none and are left out; all three are NaN where no row is left.
    """
    x, y = (stats.rankdata(each, axis=1) for each in (before, after))
    x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    size = np.sqrt((x * x).sum(1) * (y * y).sum(1))
    each = (x * y).sum(1)[size > 0] / size[size > 0]
    if len(each) == 0:
        return (float("nan"),) * 3
    return float(each.mean()), *statistics.interval_of_mean(each)


def trends(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The slope of a metric over steps from the first trained checkpoint on, in points per 10 steps.

    Least squares over checkpoints, each seed with a level of its own, and a 95 % interval; `first` and `last`: the mean
    in percent at the first trained checkpoint and at the last.
    """
    rows = []
    part = frame[(frame.metric == metric) & (frame.epoch > 0)]
    for (dataset, method), each in part.groupby(["dataset", "method"], sort=False):
        last = each[each.epoch == each.groupby("seed").epoch.transform("max")]
        first = each[each.epoch == each.epoch.min()]
        slope = statistics.interval_of_slope(each.step, each.value, each.seed)
        rows.append((dataset, method, first.value.mean() * 100, last.value.mean() * 100, *slope))
    table = pd.DataFrame(rows, columns=["dataset", "method", "first", "last", "value", "ci_low", "ci_high"])
    table[["value", "ci_low", "ci_high"]] *= 1_000  # from shares per step to points per 10 steps
    return table


def agreement(frame: pd.DataFrame, one: str, other: str) -> tuple[float, float]:
    """How alike two methods' accuracies move: the Pearson correlation of their changes from one trained checkpoint to
    the next, over data sets and seeds, and the mean absolute gap of the accuracies themselves."""
    trained = frame[(frame.metric == "accuracy") & (frame.epoch > 0)]
    wide = trained.pivot_table(index=["dataset", "seed", "epoch"], columns="method", values="value")
    changes = wide.groupby(["dataset", "seed"]).diff()
    return float(changes[one].corr(changes[other])), float((wide[one] - wide[other]).abs().mean())
