"""Labels drawn from the model's own distribution: their gradients make the Fisher itself, not the empirical one."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ifcore.batches import Batch
from ifcore.losses import device_of, evaluating, label_logits, predicting


@torch.no_grad()
def sample_labels(model: nn.Module, batches: Iterable[Batch], seed: int = 0) -> list[Batch]:
    """Replace every label in a loss by a draw from what the model predicts there, given the tokens as they stand.

    With g the gradient of such a sampled loss, mean g gᵀ is in expectation the Fisher, which of cross-entropy is the
    Gauss-Newton matrix, of the examples' losses as they were. To this end the weight w of an example with n labels
    becomes √(w n): draws at two tokens are independent, so that only the squares of the n tokens remain of g gᵀ, and
    the loss counts a token by w/n, where the square of its mean would count it by (w/n)².

    Parameters
    ----------
    model : nn.Module
        In evaluation mode while it predicts.
    batches : iterable of Batch
    seed : int
        0 or more. Further seeds give further draws, independent of one another.

    Returns
    -------
    list of Batch
        The same batches but for labels and weights: what `gradients.stream` and `ekfac.gather_factors` take.

    Raises
    ------
    ValueError
        For logits that are not finite and a seed below 0.

    References
    ----------
    Kunstner, Balles, Hennig 2019, arXiv 1905.12558; Grosse et al. 2023, arXiv 2308.03296, section 2.2.
    """
    if seed < 0:
        raise ValueError(f"seed: {seed}; give 0 or more")
    with evaluating(model):
        return [_sample(model, batch, seed) for batch in batches]


def _sample(model: nn.Module, batch: Batch, seed: int) -> Batch:
    is_counted = predicting(batch)
    counts, logits = is_counted.sum(1), label_logits(model, batch.to(device_of(model)))
    drawn = [
        _draw(row_logits, row, seed)
        for row_logits, row in zip(logits.split(counts.tolist()), batch.rows.tolist(), strict=True)
    ]
    labels = batch.labels.clone()
    labels[:, 1:][is_counted] = torch.cat(drawn).to(labels)
    return replace(batch, labels=labels, weights=(batch.weights * counts).sqrt())


def _draw(logits: Tensor, row: int, seed: int) -> Tensor:
    """One token for each position of an example, [n], by the inverse of the cumulative distribution.

    An example has a generator of its own, so that its draws, and with them the Fisher, hang on no batch. It is numpy's:
    torch's takes 32 bits of a seed, too few for a seed and a row.
    """
    if not logits.isfinite().all():
        raise ValueError(f"model: logits of example {row} that are not finite; use float32")
    cumulative = logits.double().softmax(1).cumsum(1)
    uniform = torch.from_numpy(np.random.default_rng((seed, row)).random((len(logits), 1))).to(cumulative.device)
    token = torch.searchsorted(cumulative, uniform * cumulative[:, -1:], right=True)
    return token[:, 0].clamp(max=logits.shape[1] - 1)
