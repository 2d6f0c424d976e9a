"""Shares with their 95 % intervals, also of values that depend on one another in clusters."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Share:
    """A share between 0 and 1, and the ends of its 95 % interval over validation examples."""

    value: float
    low: float
    high: float


def share(values, clusters: Sequence[Hashable] | None = None) -> Share:
    """The mean of values [n] between 0 and 1, each a share itself, and its 95 % interval.

    Values of one of the `clusters` [n] may depend on each other; by default each is a cluster. The interval is Wilson's
    for the number of trials that would vary as much as the clusters do (Kish's design effect), with Student's t for as
    many degrees of freedom as clusters are not at the end, 0 or 1, that the mean is nearer to: the others say nothing
    of how values vary. It is no wider than if a cluster were one trial, which is what it falls back to where all agree.
    Of 10, 30 and 100 clusters whose shares are .5, .9 and .97 it holds the truth in 93 to 97 % of simulated cases; in
    up to 99 % where less than one whole miss is to be expected. Hits have the dips of Wilson's interval near 0 and 1.
    """
    values = np.asarray(values, dtype=float)
    if len(values) == 0:
        raise ValueError("values: none; at least one is needed")
    sums, sizes = cluster_sums(values, clusters)
    mean, count = float(values.mean()), len(sums)
    trials = sizes.sum() ** 2 / (sizes @ sizes)  # of clusters of equal size, their number
    least = wilson(mean * trials, trials)
    spread = ((sums - mean * sizes) ** 2).sum() / (mean * (1 - mean) * (sizes @ sizes)) if 0 < mean < 1 else 1.0
    if not 1e-9 < spread < 1 - 1e-9:
        return Share(mean, *least)
    varied = int((sums != sizes).sum() if mean > 0.5 else (sums != 0).sum())
    low, high = wilson(mean * trials / spread, trials / spread, stats.t.ppf(0.975, max(1, min(varied, count - 1))))
    return Share(mean, max(low, least[0]), min(high, least[1]))


def cluster_sums(values: np.ndarray, clusters: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the values [n] in each of the `clusters` [n], and how many those are; by default each is one."""
    if clusters is None:
        return values, np.ones(len(values))
    if len(clusters) != len(values):
        raise ValueError(f"clusters: {len(clusters)} for {len(values)} values; give one for each")
    places = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    index = np.array([places[cluster] for cluster in clusters])
    return np.bincount(index, values), np.bincount(index).astype(float)


def wilson(successes: float, trials: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """Wilson's interval for a share, at 95 % unless `z` is another quantile; `successes` may be fractional (ties)."""
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
