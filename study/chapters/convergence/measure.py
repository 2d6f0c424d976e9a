"""Attribution along fine-tuning, from the checkpoints that section 3 left."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from study import statistics
from study.config import Run
from study.pipeline import checkpoints
from study.pipeline.attributions import Attribution, change, quality
from study.schema import COLUMNS
from study.statistics import NAN, Estimate


def along(run: Run, tasks: Mapping[str, Attribution]) -> pd.DataFrame:
    """Figure 5: a row for each (data set, epoch, method, metric), with the step that the epoch ended at.

    Metrics: `accuracy`, `coverage`; `accuracy_to_last`, `coverage_to_last`: what the last checkpoint has more than this
    one, paired by validation example; `stability` against the checkpoint before; the losses, as method `loss`.
    """
    rows = [row for attribution in tasks.values() for row in _rows(run, attribution)]
    return pd.DataFrame(rows, columns=[*COLUMNS, "epoch", "step"])


def stability(before: np.ndarray, after: np.ndarray) -> Estimate:
    """Mean over the rows that vary of Spearman's correlation of two score matrices [M, N], and its 95 % t-interval."""
    varied = (np.ptp(before, axis=1) > 0) & (np.ptp(after, axis=1) > 0)
    if not varied.any():
        return NAN, NAN, NAN
    correlations = statistics.spearman(before[varied], after[varied])
    return float(correlations.mean()), *statistics.interval_of_mean(correlations)


def trends(frame: pd.DataFrame, metric: str) -> pd.DataFrame:
    """How a metric moves along fine-tuning: a row for each (data set, method).

    `untouched`, `first`, `last`: its mean at step 0, at the first trained checkpoint and at the last. `change` (from
    the first to the last) and `taught` (from step 0) have intervals, over validation examples for one seed, over seeds
    for several, and are NaN where they would be of one checkpoint. `slope`, per 10 steps over trained checkpoints, has
    one over seeds only: the checkpoints of one training depend on each other.
    """
    rows = []
    for (dataset, method), part in frame.groupby(["dataset", "method"], sort=False):
        values, to_last = part[part.metric == metric], part[part.metric == f"{metric}_to_last"]
        if values.empty:
            continue
        trained = values[values.epoch > 0]
        last = trained[trained.epoch == trained.groupby("seed").epoch.transform("max")]
        means = (part.value.mean() for part in (values[values.epoch == 0], trained[trained.epoch == 1], last))
        changes = (statistics.pooled(to_last[to_last.epoch == epoch]) for epoch in (1, 0))
        slopes = [10 * _slope(training) for _, training in trained.groupby("seed")]
        slope = float(np.mean(slopes)), *statistics.interval_of_mean(slopes)
        rows.append((dataset, method, *means, *changes, slope))
    columns = ["dataset", "method", "untouched", "first", "last", "change", "taught", "slope"]
    return pd.DataFrame(rows, columns=columns)


def agreement(frame: pd.DataFrame, one: str, other: str) -> tuple[Estimate, float]:
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
    ends = statistics.interval_of_mean(pseudo) if len(names) > 2 else (NAN, NAN)
    low, high = np.clip(ends, -1, 1).tolist()
    return (whole, low, high), float((wide[one] - wide[other]).abs().mean())


def _rows(run: Run, attribution: Attribution) -> Iterator[tuple]:
    dataset, sizes = attribution.dataset, (len(attribution.train), len(attribution.val))
    steps, before = attribution.history.set_index("epoch").step, dict[str, np.ndarray]()
    for epoch in checkpoints.followed_epochs(attribution):
        scores, moment = checkpoints.scores(run, attribution, epoch), (epoch, steps[epoch])
        for method, array in scores.items():
            for row in quality(dataset, attribution, {method: array}):
                yield *row, *moment
            if method in before:
                yield dataset, method, "stability", *stability(before[method], array), *sizes, *moment
            if epoch != attribution.epoch:
                for metric, to_last in change(dataset, attribution, array, attribution.scores[method]).items():
                    yield dataset, method, f"{metric}_to_last", *to_last, *sizes, *moment
        before = scores
    for row in attribution.history.itertuples():
        for loss in ("train_loss", "dev_loss"):
            yield dataset, "loss", loss, getattr(row, loss), None, None, *sizes, row.epoch, row.step


def _slope(part: pd.DataFrame) -> float:
    return float(statistics.slope(part.step.to_numpy(float), part.value.to_numpy())) if len(part) > 1 else NAN
