"""Per-example gradients of an adapter's parameters, a batch at a time."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ifcore import hooks, trainable
from ifcore.batches import Batch
from ifcore.losses import device_of, evaluating, example_losses, own_losses
from ifcore.projection import Projection
from ifcore.representations import recorded

# By how much two ways to the same number may differ: by rounding, of which half precision has much.
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.05}


class Computed(NamedTuple):
    """Of one batch: block -> gradients [b, P_b], the losses [b], both on the CPU, and the hidden states [b, T, H].

    Under a projection to k dimensions the gradients are [b, min(P_b, k)].
    """

    gradients: dict[str, Tensor]
    losses: Tensor
    hidden: Tensor


class Factors(dict[str, tuple[Tensor, Tensor]]):
    """Block -> Σ_t x_t x_tᵀ [in, in] and Σ_t δ_t δ_tᵀ [out, out] over all tokens, for `ekfac`.

    `stream` fills it: of `blocks`, by default of all linear maps.
    """

    def __init__(self, blocks: Collection[str] | None = None):
        super().__init__()
        self.blocks = blocks

    def add(self, block: str, delta: Tensor, x: Tensor, batch: Batch) -> None:
        """Add a batch's tokens; what is padded has no δ, and its x doesn't count."""
        if self.blocks is not None and block not in self.blocks:
            return
        x = x * batch.attention_mask.reshape(len(x), -1, 1).to(x)
        x_sum, delta_sum = (torch.einsum("bti,btj->ij", tokens, tokens).cpu() for tokens in (x, delta))
        if block in self:
            x_sum, delta_sum = self[block][0] + x_sum, self[block][1] + delta_sum
        self[block] = x_sum, delta_sum


def example_gradients(
    model: nn.Module, batches: Iterable[Batch], progress: str = "", projection: Projection | None = None
) -> dict[str, Tensor]:
    """Compute the gradient of every example's own loss: that of batch size 1, in evaluation mode.

    Parameters
    ----------
    model : nn.Module
        With one active adapter, whose parameters are differentiated by.
    batches : iterable of Batch
        Together they hold the examples 0 … N−1, each once.
    progress : str
        The label of a progress bar; none without.
    projection : Projection, optional
        What makes larger blocks small; without, gradients are exact.

    Returns
    -------
    dict of str to Tensor
        Block -> [N, P_b] on the CPU, [N, min(P_b, k)] projected to k dimensions. A block is one parameter, such as a
        `lora_A` weight, flattened.

    Raises
    ------
    ValueError
        As `stream` does, and where rows are missing or there twice.
    """
    batches = list(batches)
    return gather(batches, (computed.gradients for computed in stream(model, batches, progress, projection=projection)))


def gather(batches: Sequence[Batch], pieces: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Block -> [N, P_b] from the gradients of one of `batches` after another, in memory that is taken once.

    Raises ValueError where the batches' rows are not 0 … N−1, each once.
    """
    rows = torch.cat([batch.rows for batch in batches])
    if not torch.equal(rows.sort().values, torch.arange(len(rows))):
        raise ValueError(f"batches: their rows must be 0 … {len(rows) - 1}, each once")
    gradients: dict[str, Tensor] = {}
    for batch, piece in zip(batches, pieces, strict=True):
        for block, block_rows in piece.items():
            if block not in gradients:
                gradients[block] = block_rows.new_empty(len(rows), block_rows.shape[1])
            gradients[block][batch.rows] = block_rows
    return gradients


def stream(
    model: nn.Module,
    batches: Iterable[Batch],
    progress: str = "",
    factors: Factors | None = None,
    projection: Projection | None = None,
) -> Iterator[Computed]:
    """Yields what is computed of one batch after another: for gradients that memory can't hold at once.

    For a linear map y = W x the gradient of example i is Σ_t δ_it x_itᵀ, with δ the gradient of Σ_i loss_i at y. The
    examples of a batch don't see one another, so one forward and one backward pass yield every row. Whatever else the
    adapter trains (embeddings, biases, DoRA's magnitudes, experts) is differentiated example by example. Under a
    `projection` these are projected one by one, so that memory holds a whole gradient of one example, not of b.

    The first batch is checked: one example's loss against the model's own logits, the sum of the rows of each block
    against what plain backpropagation says, and the names of the blocks against all that the adapter trains. Raises
    ValueError where they differ, and as `trainable.trainable_parameters` does.
    """
    parameters = trainable.trainable_parameters(model)
    linears = {block: linear for block, linear in trainable.adapted_linears(model).items() if block in parameters}
    checked = False
    with (
        recorded(model) as hidden,
        evaluating(model),
        trainable.requiring_grad(parameters),
        hooks.captured(linears) as calls,
    ):
        for batch in tqdm(batches, desc=progress, unit="batch", disable=not progress):
            batch = batch.to(device_of(model))
            losses = example_losses(model, batch)
            separable = hooks.fitting(calls, batch)
            calls.clear()
            rows = _by_products(losses, separable, {} if checked else parameters, batch, factors)
            rows = _projected(rows, projection)
            others = {name: p for name, p in parameters.items() if name not in rows}
            rows |= _one_by_one(model, others, batch, projection)
            if not checked:
                check_loss(model, batch, losses.detach())
                if missing := parameters.keys() - rows.keys():
                    raise ValueError(f"model: no gradient of {min(missing)}, which the adapter trains")
                checked = True
            calls.clear()
            yield Computed({block: rows[block].cpu() for block in parameters}, losses.detach().cpu(), hidden[0])
            hidden.clear()  # of other passes, too, that were made for this batch, here or by whoever took it


def _by_products(
    losses: Tensor,
    calls: hooks.Calls,
    checked: Mapping[str, nn.Parameter],
    batch: Batch,
    factors: Factors | None,
) -> dict[str, Tensor]:
    """Block -> [b, P_b] from the inputs and outputs of each call of each linear map.

    With `checked`, parameters by block, the same backward pass differentiates by them too: the weighted sum of the
    rows of a block must be that. The weights tell an example from its neighbours.
    """
    plain = {block: checked[block] for block in calls if block in checked}
    weights = 2.0 ** (torch.arange(len(losses), device=losses.device) % 4)
    pairs, expected = hooks.backward(losses, calls, list(plain.values()), weights if plain else None)
    per_block: dict[str, Tensor] = {}
    for block, delta, x in pairs:
        rows = torch.einsum("bto,bti->boi", delta, x).flatten(1)
        per_block[block] = per_block[block] + rows if block in per_block else rows
        if factors is not None:
            factors.add(block, delta, x, batch)
    for block, total in zip(plain, expected, strict=True):
        if block in per_block:
            _check_sum(block, weights[:, None].to(per_block[block]) * per_block[block], total)
    return per_block


def _one_by_one(
    model: nn.Module, parameters: Mapping[str, nn.Parameter], batch: Batch, projection: Projection | None
) -> dict[str, Tensor]:
    """Block -> [b, P_b], or what a projection leaves of it, by a backward pass for each example."""
    if not parameters:
        return {}
    per_example = [
        _projected(_alone(example_losses(model, single), parameters), projection) for single in batch.singles()
    ]
    return {block: torch.cat([each[block] for each in per_example]) for block in parameters}


def _alone(loss: Tensor, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Block -> [1, P_b], the gradient of the loss [1] of one example."""
    values = torch.autograd.grad(loss.sum(), list(parameters.values()), allow_unused=True)
    pairs = zip(parameters.items(), values, strict=True)
    return {block: hooks.wide(torch.zeros_like(p) if g is None else g).reshape(1, -1) for (block, p), g in pairs}


def _projected(rows: dict[str, Tensor], projection: Projection | None) -> dict[str, Tensor]:
    """Block -> what a projection leaves of its rows; all, without one."""
    return rows if projection is None else {block: projection.project(block, rows[block]) for block in rows}


def _check_sum(block: str, rows: Tensor, plain: Tensor | None) -> None:
    expected = torch.zeros_like(rows[0]) if plain is None else hooks.wide(plain).flatten()
    if not rows.isfinite().all():
        raise ValueError(f"{block}: gradients that are not finite; lower the learning rate or use float32")
    error, size = (rows.sum(0) - expected).norm(), rows.norm()
    if not error <= TOLERANCE[torch.float32 if plain is None else plain.dtype] * size:
        raise ValueError(
            f"model: the rows of {block} sum to a gradient that is off by {error:.2g} of {size:.2g}; "
            "the model uses its output in a way that is not supported"
        )


def check_loss(model: nn.Module, batch: Batch, losses: Tensor) -> None:
    """Raise ValueError unless the loss of a batch's shortest example, which is padded most, is what the model's own
    logits say of it by itself."""
    place = int(batch.attention_mask.sum(1).argmin())
    with torch.no_grad():
        (alone,) = own_losses(model, next(batch.singles([place])), whole=True)
    tolerance = TOLERANCE.get(next(model.parameters()).dtype, 0.05)  # of weights in less than half precision, too
    if not torch.isclose(losses[place], alone, rtol=tolerance, atol=tolerance):
        raise ValueError(
            f"model: the loss of example {int(batch.rows[place])} is {losses[place]:.6g} in a batch, {alone:.6g} alone "
            "by the model's own logits; its head, or what it makes of padding, is not supported"
        )
