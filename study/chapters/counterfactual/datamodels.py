"""The linear datamodeling score: how well summed scores rank what retraining on random halves does.

Park et al., TRAK (2023), section 3; the explained output is an example's loss.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from study import correlation, datasets
from study.chapters.counterfactual import sets
from study.config import Run
from study.pipeline import retraining
from study.pipeline.attributions import Attribution
from study.pipeline.baselines import BASELINES
from study.pipeline.stages import frame
from study.pipeline.task import Task
from study.report.names import COLUMNS

ITSELF, CEILING = "nothing", "ceiling"
RESAMPLES = 500


def measured(run: Run, found: Attribution) -> pd.DataFrame:
    """Tidy rows of a data set's LDS: each method's and control's own (against `nothing`), and how far each method is
    ahead of the others. `ceiling`: of the losses of the same halves from another seed, in the place of scores.

    Metric `lds`; and, where examples are left out one at a time, `loo`: Spearman's correlation of the scores with by
    how much the loss of an explained example rises without each training example, mean over the explained.
    """
    place = found.folder / "counterfactual"
    return frame(place, "lds", sets.determined_by(run, found), partial(_measured, run, found))


def lds(scores: np.ndarray, kept: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """The linear datamodeling score of each explained example, [M].

    Spearman's correlation over halves of the summed scores [M, N] of what a half keeps (`kept`, bool [H, N]) with minus
    the loss after fine-tuning on it (`lost`, [H, M]). 0 where a method gives all halves the same sum.
    """
    predicted = np.asarray(scores, dtype=float) @ kept.T.astype(float)  # [M, H]
    return _spearman(predicted, -np.asarray(lost, dtype=float).T)


def compared(
    scores: Mapping[str, np.ndarray],
    kept: np.ndarray,
    lost: np.ndarray,
    clusters: Sequence[Hashable],
    seed: int,
) -> tuple[dict[str, tuple[float, float, float]], dict[tuple[str, str], tuple[float, float, float]]]:
    """Method -> mean LDS over the explained examples, and (method, other) -> by how much it is ahead; 95 % intervals.

    Percentiles of a bootstrap that draws halves and requests (`clusters` [M]) anew, the same for all methods: both
    vary, and the explained examples of one half share its luck.
    """
    predicted = {name: np.asarray(each, dtype=float) @ kept.T.astype(float) for name, each in scores.items()}
    actual = -np.asarray(lost, dtype=float).T  # [M, H]
    means = {name: lds(each, kept, lost).mean() for name, each in scores.items()}
    drawn = {name: np.empty(RESAMPLES) for name in scores}
    for place, (columns, weights) in enumerate(_resampled(kept.shape[0], clusters, seed)):
        ranked = _ranks(actual[:, columns])
        for name, each in predicted.items():
            drawn[name][place] = weights @ _correlated(_ranks(each[:, columns]), ranked)
    own = {name: (float(means[name]), *_ends(drawn[name])) for name in scores}
    pairs = [(a, b) for a in scores for b in scores if a != b and a not in BASELINES]
    return own, {(a, b): (float(means[a] - means[b]), *_ends(drawn[a] - drawn[b])) for a, b in pairs}


def _measured(run: Run, found: Attribution) -> pd.DataFrame:
    asked, sizes = run.profile.counterfactual, (len(found.train), len(found.val))
    kept, clusters = sets.halves(sizes[0], asked.halves, run.seed), datasets.requests(found.dataset, found.val)
    label = f"halves {found.dataset}"
    lost = np.stack(retraining.map_tasks(retraining.losses, sets.without(run, found.dataset, kept), label))
    own, ahead = compared(found.scores, kept, lost, clusters, run.seed)
    rows = [(method, "lds", *value, ITSELF) for method, value in own.items()]
    rows += [(method, "lds", *value, other) for (method, other), value in ahead.items()]
    if asked.again >= 3:
        tasks = sets.without(run, found.dataset, kept[: asked.again], again=1)
        again = retraining.map_tasks(retraining.losses, tasks, f"{label} again")
        pair = (-each.astype(float).T for each in (np.stack(again), lost[: asked.again]))  # [M, H] each
        ceiling = _agreement(*pair, clusters, run.seed)
        rows.append((CEILING, "lds", *ceiling, ITSELF))
    if asked.left_out and found.dataset == sets.REMOVED_FROM:
        alone = _one_at_a_time(run, found, clusters)
        rows += [(method, "loo", *value, ITSELF) for method, value in alone.items()]
    whole = [(found.dataset, *row[:5], *sizes, row[5]) for row in rows]
    return pd.DataFrame(whole, columns=[*COLUMNS, "against"])


def _one_at_a_time(run: Run, found: Attribution, clusters) -> dict[str, tuple[float, float, float]]:
    """Method -> mean Spearman correlation of its scores with what leaving out each of the first examples does."""
    count = min(run.profile.counterfactual.left_out, len(found.train))
    tasks = [Task(run, found.dataset, left_out=(row,)) for row in range(count)]
    lost = retraining.map_tasks(retraining.losses, tasks, f"halves {found.dataset} alone")
    lost = np.stack(lost, axis=1).astype(float)  # [M, left out]
    scores = {name: np.asarray(each, dtype=float)[:, :count] for name, each in found.scores.items()}
    return {name: _agreement(each, lost, clusters, run.seed) for name, each in scores.items()}


def _agreement(predicted: np.ndarray, actual: np.ndarray, clusters, seed: int) -> tuple[float, float, float]:
    """Spearman's correlation along the rows of two [M, K], mean over rows, with its bootstrap interval."""
    drawn = [
        weights @ _correlated(_ranks(predicted[:, columns]), _ranks(actual[:, columns]))
        for columns, weights in _resampled(predicted.shape[1], clusters, seed)
    ]
    return float(_spearman(predicted, actual).mean()), *_ends(np.array(drawn))


def _resampled(count: int, clusters: Sequence[Hashable], seed: int):
    """RESAMPLES times: places of `count` things drawn anew, and the weight of each explained example, [M]."""
    random, names = np.random.default_rng([seed, count]), list(dict.fromkeys(clusters))
    of = np.array([names.index(cluster) for cluster in clusters])
    for _ in range(RESAMPLES):
        times = np.bincount(random.integers(len(names), size=len(names)), minlength=len(names))[of].astype(float)
        yield random.integers(count, size=count), times / times.sum()


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    return tuple(np.percentile(drawn, [2.5, 97.5]).tolist())


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks along the last axis; what is equal but for rounding ties."""
    return stats.rankdata(values.round(9), axis=-1)


def _correlated(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Pearson's correlation along the last axis; 0 where one of the two does not vary."""
    varies = (np.ptp(a, axis=-1) > 0) & (np.ptp(b, axis=-1) > 0)
    found = np.zeros(a.shape[:-1])
    found[varies] = correlation.pearson(a[varies], b[varies])
    return found


def _spearman(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return _correlated(_ranks(a), _ranks(b))
