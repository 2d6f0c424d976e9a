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

Scores = Mapping[str, np.ndarray]  # method -> [M, N]


def along(run: Run, tasks: Mapping[str, Attribution]) -> pd.DataFrame:
    """Figure 5: a row for each (data set, epoch, method, metric), with the step that the epoch ended at.

    Metrics: `accuracy`, `coverage`; `accuracy_to_last`, `coverage_to_last`: what the last checkpoint has more than this
    one, paired by validation example; `stability`: `mean_spearman` with the scores at the checkpoint before;
    `followed`, of `datainf` at trained checkpoints after the first: whether they changed since the one before as those
    of `gradsim` did, see `followed`; the losses, as method `loss`.
    """
    rows = [row for attribution in tasks.values() for row in _rows(run, attribution)]
    return pd.DataFrame(rows, columns=[*COLUMNS, "epoch", "step"])


def mean_spearman(one: np.ndarray, other: np.ndarray) -> Estimate:
    """Mean over the rows that vary of Spearman's correlation of two matrices [M, N], and its 95 % t-interval."""
    varied = (np.ptp(one, axis=1) > 0) & (np.ptp(other, axis=1) > 0)
    if not varied.any():
        return NAN, NAN, NAN
    correlations = statistics.spearman(one[varied], other[varied])
    return float(correlations.mean()), *statistics.interval_of_mean(correlations)


def followed(before: Scores, after: Scores, one: str = "datainf", other: str = "gradsim") -> Estimate:
    """How alike two methods' scores [M, N] change from a checkpoint to the next: `mean_spearman` of their changes.

    At each checkpoint scores are standardised within the validation example: their scale does not count.
    """
    return mean_spearman(*(_standardised(after[name]) - _standardised(before[name]) for name in (one, other)))


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


def _rows(run: Run, attribution: Attribution) -> Iterator[tuple]:
    dataset, sizes = attribution.dataset, (len(attribution.train), len(attribution.val))
    steps, before, epoch_before = attribution.history.set_index("epoch").step, dict[str, np.ndarray](), 0
    for epoch in checkpoints.followed_epochs(attribution):
        scores, moment = checkpoints.scores(run, attribution, epoch), (epoch, steps[epoch])
        for method, array in scores.items():
            for row in quality(dataset, attribution, {method: array}):
                yield *row, *moment
            if method in before:
                yield dataset, method, "stability", *mean_spearman(before[method], array), *sizes, *moment
            if epoch != attribution.epoch:
                for metric, to_last in change(dataset, attribution, array, attribution.scores[method]).items():
                    yield dataset, method, f"{metric}_to_last", *to_last, *sizes, *moment
        if epoch_before > 0 and {"datainf", "gradsim"} <= set(scores):
            yield dataset, "datainf", "followed", *followed(before, scores), *sizes, *moment
        before, epoch_before = scores, epoch
    for row in attribution.history.itertuples():
        for loss in ("train_loss", "dev_loss"):
            yield dataset, "loss", loss, getattr(row, loss), None, None, *sizes, row.epoch, row.step


def _standardised(scores: np.ndarray) -> np.ndarray:
    """With mean 0 and standard deviation 1 in each row [M, N]; 0 where a row does not vary."""
    centred = scores - scores.mean(1, keepdims=True)
    spread = centred.std(1, keepdims=True)
    return np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0)


def _slope(part: pd.DataFrame) -> float:
    return float(statistics.slope(part.step.to_numpy(float), part.value.to_numpy())) if len(part) > 1 else NAN
