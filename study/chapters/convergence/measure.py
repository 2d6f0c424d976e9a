"""Attribution along fine-tuning, from the checkpoints that section 3 left."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy import stats

from ifcore import metrics
from study import correlation, datasets, statistics
from study.config import Run
from study.pipeline import checkpoints
from study.pipeline.attributions import Attribution, quality
from study.report.names import COLUMNS


def along(run: Run, tasks: Mapping[str, Attribution]) -> pd.DataFrame:
    """Figure 5: a row for each (data set, epoch, method, metric), with the step that the epoch ended at.

    Metrics: `accuracy` and `coverage` with their intervals; `stability`, the mean over validation examples of the
    rank correlation of a row of scores with that of the checkpoint before, with a 95 % t-interval (empty at the first
    checkpoint, and where all scores of a row are equal); `accuracy_to_last` and `coverage_to_last`, what the last
    checkpoint has more than this one, paired by validation example; `train_loss` and `dev_loss` (method `loss`).
    """
    rows = []
    for dataset, found in tasks.items():
        steps = found.history.set_index("epoch").step
        sizes = len(found.train), len(found.val)
        labels = [[example.label for example in part] for part in (found.train, found.val)]
        clusters = datasets.requests(found.dataset, found.val)
        before: dict[str, np.ndarray] = {}
        for epoch in checkpoints.followed_epochs(found):
            scores = checkpoints.scores(run, found, epoch)
            for method, each in scores.items():
                rows += [(*row, epoch, steps[epoch]) for row in quality(dataset, found, {method: each})]
                if method in before:
                    value = stability(before[method], each)
                    rows.append((dataset, method, "stability", *value, *sizes, epoch, steps[epoch]))
                for metric in (metrics.accuracy, metrics.coverage) if epoch != found.epoch else ():
                    value = statistics.change(metric, each, found.scores[method], *labels, clusters)
                    rows.append((dataset, method, f"{metric.__name__}_to_last", *value, *sizes, epoch, steps[epoch]))
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
    """How a metric moves along fine-tuning: a row for each (data set, method).

    `untouched`, `first`, `last`: its mean at step 0, at the first trained checkpoint and at the last. `change` and
    `taught`: from the first trained checkpoint to the last, and from step 0, each a value with the ends of its
    interval: over validation examples for one seed, over seeds for several; NaN where there is one trained checkpoint
    only. `slope`, per 10 steps over trained checkpoints, likewise, but without an interval for one seed: the
    checkpoints of one training depend on each other.
    """
    rows = []
    for (dataset, method), part in frame.groupby(["dataset", "method"], sort=False):
        each, to_last = part[part.metric == metric], part[part.metric == f"{metric}_to_last"]
        if each.empty:
            continue
        trained = each[each.epoch > 0]
        last = trained[trained.epoch == trained.groupby("seed").epoch.transform("max")]
        means = (at.value.mean() for at in (each[each.epoch == 0], trained[trained.epoch == 1], last))
        changes = (_pooled(to_last[to_last.epoch == epoch]) for epoch in (1, 0))
        slopes = [10 * _slope(of_seed) for _, of_seed in trained.groupby("seed")]
        slope = float(np.mean(slopes)), *statistics.interval_of_mean(slopes)
        rows.append((dataset, method, *means, *changes, slope))
    columns = ["dataset", "method", "untouched", "first", "last", "change", "taught", "slope"]
    return pd.DataFrame(rows, columns=columns)


def agreement(frame: pd.DataFrame, one: str, other: str) -> tuple[tuple[float, float, float], float]:
    """How alike two methods' accuracies move: the Pearson correlation of their changes from one trained checkpoint to
    the next, over data sets and seeds, with a jackknife interval over data sets, and the mean absolute gap of the
    accuracies themselves. The interval is NaN for fewer than three data sets."""
    trained = frame[(frame.metric == "accuracy") & (frame.epoch > 0)]
    wide = trained.pivot_table(index=["dataset", "seed", "epoch"], columns="method", values="value")
    changes = wide.groupby(["dataset", "seed"]).diff()

    def correlation(part: pd.DataFrame) -> float:
        return float(part[one].corr(part[other]))

    whole, names = correlation(changes), changes.index.unique("dataset")
    without = np.array([correlation(changes.drop(dataset, level="dataset")) for dataset in names])
    pseudo = len(names) * whole - (len(names) - 1) * without
    ends = statistics.interval_of_mean(pseudo) if len(names) > 2 else (float("nan"),) * 2
    return (whole, *np.clip(ends, -1, 1).tolist()), float((wide[one] - wide[other]).abs().mean())


def _pooled(part: pd.DataFrame) -> tuple[float, float, float]:
    """A row of each seed in one estimate; NaN where there is none."""
    return statistics.over_seeds(part.value, part.ci_low, part.ci_high) if len(part) else (float("nan"),) * 3


def _slope(part: pd.DataFrame) -> float:
    """The least-squares slope over steps of one training's checkpoints; NaN of one checkpoint."""
    return float(correlation.slope(part.step.to_numpy(float), part.value.to_numpy())) if len(part) > 1 else float("nan")
