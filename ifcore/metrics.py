"""Accuracy, coverage and the area under the curve of influence scores."""

from collections.abc import Hashable, Sequence

import numpy as np
from scipy import stats
from torch import Tensor

from ifcore.intervals import Share, share


def accuracy(
    scores, train_labels: Sequence[Hashable], val_labels: Sequence[Hashable], clusters: Sequence[Hashable] | None = None
) -> Share:
    """How often the top-ranked training example is of the validation example's class.

    Examples that tie for the top count by the share of them that is of the class, the mean over all orders of the tied.

    Parameters
    ----------
    scores : Tensor, array or lists
        [M, N], higher = more influential.
    train_labels, val_labels : sequence of hashable
        The classes, [N] and [M].
    clusters : sequence of hashable, optional
        [M]; validation examples of one cluster may depend on each other. By default each is one by itself.

    Returns
    -------
    Share
        With the interval of `share`: Wilson's where each example is a cluster.

    Raises
    ------
    ValueError
        For scores that don't fit the labels or are not finite, for no examples, and for a validation class without a
        training example.
    """
    scores, same = _checked(scores, train_labels, val_labels)
    top = scores == scores.max(1, keepdims=True)
    return share((top & same).sum(1) / top.sum(1), clusters)


def coverage(
    scores, train_labels: Sequence[Hashable], val_labels: Sequence[Hashable], clusters: Sequence[Hashable] | None = None
) -> Share:
    """The share of the validation example's class in its top c, c the class's training count.

    Where place c falls among tied examples, each of them has an equal chance of being in, the mean over all orders of
    the tied. Parameters, result and errors are those of `accuracy`.
    """
    scores, same = _checked(scores, train_labels, val_labels)
    size = same.sum(1)
    threshold = np.take_along_axis(-np.sort(-scores, axis=1), size[:, None] - 1, axis=1)
    above, tied = scores > threshold, scores == threshold
    admitted = (size - above.sum(1)) / tied.sum(1)
    return share(((above & same).sum(1) + admitted * (tied & same).sum(1)) / size, clusters)


def auc(
    scores, train_labels: Sequence[Hashable], val_labels: Sequence[Hashable], clusters: Sequence[Hashable] | None = None
) -> Share:
    """How often a training example of the validation example's class outranks one that isn't, ties counting half.

    The area under the receiver operating characteristic; 0.5 is chance. Parameters, result and errors are those of
    `accuracy`; ValueError also for a class that all training examples are of.
    """
    scores, same = _checked(scores, train_labels, val_labels)
    inside, outside = same.sum(1), (~same).sum(1)
    if not outside.all():
        raise ValueError(f"train_labels: all are {val_labels[int(outside.argmin())]!r}; two classes are needed")
    ranks = stats.rankdata(scores, axis=1)
    return share(((ranks * same).sum(1) - inside * (inside + 1) / 2) / (inside * outside), clusters)


def chance(train_labels: Sequence[Hashable], val_labels: Sequence[Hashable]) -> float:
    """What a random ranking scores on average, in accuracy and coverage alike: the class's mean share."""
    return float(_same_class(train_labels, val_labels).mean())


def _checked(scores, train_labels, val_labels) -> tuple[np.ndarray, np.ndarray]:
    """The scores as a float64 array, and `_same_class`, both [M, N]."""
    same = _same_class(train_labels, val_labels)
    if isinstance(scores, Tensor):
        scores = scores.detach().cpu().double()  # NumPy reads neither GPU memory nor bfloat16
    scores = np.asarray(scores, dtype=float)
    if scores.shape != same.shape:
        raise ValueError(f"scores: shape {scores.shape}; the labels ask for {same.shape}, [val, train]")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores: {(~np.isfinite(scores)).sum()} are not finite; rank only finite scores")
    return scores, same


def _same_class(train_labels, val_labels) -> np.ndarray:
    """Whether each training example is of each validation example's class, [M, N]."""
    for name, labels in (("train_labels", train_labels), ("val_labels", val_labels)):
        if len(labels) == 0:
            raise ValueError(f"{name}: none; at least one example is needed")
    absent = sorted(map(str, set(val_labels) - set(train_labels)))
    if absent:
        raise ValueError(f"val_labels: {absent[0]!r} has no training example; every class needs one")
    return np.array([[train == val for train in train_labels] for val in val_labels])
