"""The linear datamodeling score: how well summed scores rank what retraining on random halves does.

Park et al., TRAK (2023), section 3; the explained output is an example's loss.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from study import datasets, statistics
from study.chapters.counterfactual import sets
from study.config import Run
from study.methods import BASELINES
from study.pipeline import retraining
from study.pipeline.attributions import Attribution
from study.pipeline.stages import cached_frame
from study.pipeline.task import Task
from study.schema import COLUMNS, ITSELF

CEILING = "ceiling"
RESAMPLES = 500

Estimate = tuple[float, float, float]  # value and the ends of its 95 % interval


def measure(run: Run, attribution: Attribution) -> pd.DataFrame:
    """Tidy rows of a data set's LDS: that of each method and baseline (against `nothing`), and how far each method is
    ahead of the others. `ceiling`: the losses of the same halves from another seed, taken as scores.

    Metric `lds`; and, where examples are left out one at a time, `loo`: Spearman's correlation of the scores with how
    much the loss of an explained example rises without each training example, mean over the explained.
    """
    folder = attribution.folder / "counterfactual"
    return cached_frame(folder, "lds", sets.stage_key(run, attribution), partial(_measure, run, attribution))


def lds(scores: np.ndarray, halves: np.ndarray, losses: np.ndarray) -> np.ndarray:
    """The linear datamodeling score of each explained example, [M].

    Spearman's correlation over halves of the summed scores [M, N] of what a half (of `halves`, bool [H, N]) keeps with
    minus the loss after fine-tuning on it (`losses`, [H, M]). 0 where a method gives all halves the same sum.
    """
    return _spearman(_predictions(scores, halves), -np.asarray(losses, dtype=float).T)


def compare(
    scores: Mapping[str, np.ndarray], halves: np.ndarray, losses: np.ndarray, clusters: Sequence[Hashable], seed: int
) -> tuple[dict[str, Estimate], dict[tuple[str, str], Estimate]]:
    """Method -> mean LDS over the explained examples, and (method, other) -> how far it is ahead; 95 % intervals.

    Percentiles of a bootstrap that draws halves and requests (`clusters` [M]) anew, the same for all methods: both
    vary, and the explained examples of one half share its luck.
    """
    predicted = {name: _predictions(matrix, halves) for name, matrix in scores.items()}
    actual = -np.asarray(losses, dtype=float).T  # [M, H]
    means = {name: lds(matrix, halves, losses).mean() for name, matrix in scores.items()}
    drawn = {name: np.empty(RESAMPLES) for name in scores}
    for place, (columns, weights) in enumerate(_resamples(halves.shape[0], clusters, seed)):
        ranks = _ranks(actual[:, columns])
        for name, sums in predicted.items():
            drawn[name][place] = weights @ _correlations(_ranks(sums[:, columns]), ranks)
    values = {name: (float(means[name]), *_ends(drawn[name])) for name in scores}
    pairs = [(a, b) for a in scores for b in scores if a != b and a not in BASELINES]
    return values, {(a, b): (float(means[a] - means[b]), *_ends(drawn[a] - drawn[b])) for a, b in pairs}


def _measure(run: Run, attribution: Attribution) -> pd.DataFrame:
    dataset, sizes = attribution.dataset, (len(attribution.train), len(attribution.val))
    settings, clusters = sets.settings(run), datasets.requests(dataset, attribution.val)
    halves, label = sets.halves(sizes[0], settings.halves, run.seed), f"halves {dataset}"
    losses = np.stack(retraining.map_tasks(retraining.losses, sets.tasks(run, dataset, halves), label))
    values, leads = compare(attribution.scores, halves, losses, clusters, run.seed)
    rows = [(method, "lds", *estimate, ITSELF) for method, estimate in values.items()]
    rows += [(method, "lds", *estimate, other) for (method, other), estimate in leads.items()]
    if settings.again >= 3:
        tasks = sets.tasks(run, dataset, halves[: settings.again], replicate=1)
        replicated = np.stack(retraining.map_tasks(retraining.losses, tasks, f"{label} again"))
        predicted, actual = (-matrix.astype(float).T for matrix in (replicated, losses[: settings.again]))  # [M, H]
        rows.append((CEILING, "lds", *_agreement(predicted, actual, clusters, run.seed), ITSELF))
    if settings.left_out and dataset == sets.REMOVED_FROM:
        alone = _one_at_a_time(run, attribution, clusters)
        rows += [(method, "loo", *estimate, ITSELF) for method, estimate in alone.items()]
    return pd.DataFrame([(dataset, *row[:5], *sizes, row[5]) for row in rows], columns=[*COLUMNS, "against"])


def _one_at_a_time(run: Run, attribution: Attribution, clusters: Sequence[Hashable]) -> dict[str, Estimate]:
    """Method -> mean Spearman correlation of its scores with what leaving out each of the first examples does."""
    count = min(sets.settings(run).left_out, len(attribution.train))
    tasks = [Task(run, attribution.dataset, left_out=(row,)) for row in range(count)]
    columns = retraining.map_tasks(retraining.losses, tasks, f"halves {attribution.dataset} alone")
    losses = np.stack(columns, axis=1).astype(float)  # [M, left out]
    scores = {name: np.asarray(matrix, dtype=float)[:, :count] for name, matrix in attribution.scores.items()}
    return {name: _agreement(matrix, losses, clusters, run.seed) for name, matrix in scores.items()}


def _predictions(scores: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """The summed scores of what each half keeps, [M, H]."""
    return np.asarray(scores, dtype=float) @ halves.T.astype(float)


def _agreement(predicted: np.ndarray, actual: np.ndarray, clusters: Sequence[Hashable], seed: int) -> Estimate:
    """Spearman's correlation along the rows of two [M, K], mean over rows, with its bootstrap interval."""
    drawn = [
        weights @ _spearman(predicted[:, columns], actual[:, columns])
        for columns, weights in _resamples(predicted.shape[1], clusters, seed)
    ]
    return float(_spearman(predicted, actual).mean()), *_ends(np.array(drawn))


def _resamples(count: int, clusters: Sequence[Hashable], seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """RESAMPLES times: places of `count` things drawn anew, and the weight of each explained example, [M]."""
    random, names = np.random.default_rng([seed, count]), list(dict.fromkeys(clusters))
    cluster_of = np.array([names.index(cluster) for cluster in clusters])
    for _ in range(RESAMPLES):
        times = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))[cluster_of].astype(
            float
        )
        yield random.integers(count, size=count), times / times.sum()


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


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _correlations(_ranks(a), _ranks(b))
