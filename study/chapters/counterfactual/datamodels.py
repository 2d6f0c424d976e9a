"""The linear datamodeling score: how well summed scores rank what retraining on random halves does.

Park et al., TRAK (2023), section 3; the explained output is an example's loss.
"""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from study import datasets, statistics
from study.chapters.counterfactual import subsets
from study.config import Run
from study.methods import BASELINES
from study.pipeline import retraining
from study.pipeline.attributions import Attribution
from study.pipeline.stages import cached_frame
from study.schema import COLUMNS, ITSELF
from study.statistics import Estimate

CEILING = "ceiling"
RESAMPLES = 500


def measure(run: Run, attribution: Attribution) -> pd.DataFrame:
    """Tidy rows of a data set's LDS: that of each method and baseline (against `nothing`), and how far each method is
    ahead of the others. `ceiling`: the losses of the same halves from another seed, taken as scores.

    Metric `lds`; and, where examples are left out one at a time, `loo`: Spearman's correlation of the scores with how
    much the loss of an explained example rises without each training example, mean over the explained.
    """
    folder = attribution.folder / "counterfactual"
    return cached_frame(folder, "lds", subsets.stage_key(run, attribution), partial(_measure, run, attribution))


def compare(
    scores: Mapping[str, np.ndarray], halves: np.ndarray, losses: np.ndarray, clusters: Sequence[Hashable], seed: int
) -> tuple[dict[str, Estimate], dict[tuple[str, str], Estimate]]:
    """Method -> mean LDS over the explained examples, and (method, other) -> how far it is ahead; 95 % intervals.

    The LDS of an example: Spearman's correlation over halves of the summed scores [M, N] of what a half (of `halves`,
    bool [H, N]) keeps with minus the loss after fine-tuning on it (`losses`, [H, M]). 0 where a method gives all halves
    the same sum.

    Percentiles of a bootstrap that draws halves and requests (`clusters` [M]) anew, the same for all methods: both
    vary, and the explained examples of one half share its luck.
    """
    sums = {name: np.asarray(matrix, dtype=float) @ halves.T.astype(float) for name, matrix in scores.items()}  # [M, H]
    values, drawn = _agreement(sums, -np.asarray(losses, dtype=float).T, clusters, seed)
    pairs = [(a, b) for a in scores for b in scores if a != b and a not in BASELINES]
    return values, {(a, b): (values[a][0] - values[b][0], *_ends(drawn[a] - drawn[b])) for a, b in pairs}


def _measure(run: Run, attribution: Attribution) -> pd.DataFrame:
    dataset, sizes = attribution.dataset, (len(attribution.train), len(attribution.val))
    settings, clusters = subsets.settings(run), datasets.requests(dataset, attribution.val)
    halves, label = subsets.halves(sizes[0], settings.halves, run.seed), f"halves {dataset}"
    losses = np.stack(retraining.map_tasks(retraining.losses, subsets.tasks(run, dataset, halves), label))
    values, leads = compare(attribution.scores, halves, losses, clusters, run.seed)
    rows = [(method, "lds", *estimate, ITSELF) for method, estimate in values.items()]
    rows += [(method, "lds", *estimate, other) for (method, other), estimate in leads.items()]
    if settings.again >= 3:
        tasks = subsets.tasks(run, dataset, halves[: settings.again], replicate=1)
        replicated = np.stack(retraining.map_tasks(retraining.losses, tasks, f"{label} again"))
        predicted, actual = (-matrix.astype(float).T for matrix in (replicated, losses[: settings.again]))  # [M, H]
        ceiling, _ = _agreement({CEILING: predicted}, actual, clusters, run.seed)
        rows.append((CEILING, "lds", *ceiling[CEILING], ITSELF))
    if tasks := subsets.left_out_alone(run, dataset, sizes[0]):
        columns = retraining.map_tasks(retraining.losses, tasks, f"{label} alone")
        first = {name: np.asarray(matrix, dtype=float)[:, : len(tasks)] for name, matrix in attribution.scores.items()}
        alone, _ = _agreement(first, np.stack(columns, axis=1).astype(float), clusters, run.seed)
        rows += [(method, "loo", *estimate, ITSELF) for method, estimate in alone.items()]
    return pd.DataFrame([(dataset, *row[:5], *sizes, row[5]) for row in rows], columns=[*COLUMNS, "against"])


def _agreement(
    predicted: Mapping[str, np.ndarray], actual: np.ndarray, clusters: Sequence[Hashable], seed: int
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """Spearman's correlation of each prediction's rows with those of `actual`, both [M, K], mean over rows, with its
    interval; and what RESAMPLES draws of K and of the clusters give, the same for all predictions."""
    count, names = actual.shape[1], list(dict.fromkeys(clusters))
    random, cluster_of = np.random.default_rng([seed, count]), [names.index(cluster) for cluster in clusters]
    drawn = {name: np.empty(RESAMPLES) for name in predicted}
    for place in range(RESAMPLES):
        times = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))[cluster_of]
        columns, weights = random.integers(count, size=count), times / times.sum()
        ranks = _ranks(actual[:, columns])
        for name, matrix in predicted.items():
            drawn[name][place] = weights @ _correlations(_ranks(matrix[:, columns]), ranks)
    means = {name: _correlations(_ranks(matrix), _ranks(actual)).mean() for name, matrix in predicted.items()}
    return {name: (float(means[name]), *_ends(drawn[name])) for name in predicted}, drawn


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
    return low, high


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis; what is equal but for rounding ties."""
    return stats.rankdata(values.round(9), axis=-1)


def _correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the last axis; 0 where one of the two does not vary."""
    varies = (np.ptp(a, axis=-1) > 0) & (np.ptp(b, axis=-1) > 0)
    correlations = np.zeros(a.shape[:-1])
    correlations[varies] = statistics.pearson(a[varies], b[varies])
    return correlations
