"""Inputs of linear maps and gradients at their outputs, by one pass: what per-example quantities are made of."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ifcore.batches import Batch

Calls = dict[str, list[tuple[Tensor, Tensor]]]  # block -> input and output of each call of its linear map


@contextmanager
def captured(linears: Mapping[str, nn.Module]) -> Iterator[Calls]:
    """Collects what each linear map is given and returns, at every call in a pass that is to be differentiated."""
    calls: Calls = {}

    def hook(name: str):
        def keep(_, arguments, output):
            if output.requires_grad:
                calls.setdefault(name, []).append((arguments[0], output))

        return keep

    handles = [module.register_forward_hook(hook(name)) for name, module in linears.items()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def fitting(calls: Calls, batch: Batch) -> Calls:
    """The linear maps of whose rows it is plain which example each is of: [b, T, …], or [b T, …] as OPT flattens it."""
    examples, positions = batch.input_ids.shape

    def fits(x: Tensor, y: Tensor) -> bool:
        if x.dim() == y.dim() == 3:
            return len(x) == len(y) == examples
        return x.dim() == y.dim() == 2 and len(x) == len(y) == examples * positions

    return {block: each for block, each in calls.items() if all(fits(x, y) for x, y in each)}


def backward(
    losses: Tensor, calls: Calls, parameters: Sequence[nn.Parameter] = (), weights: Tensor | None = None
) -> tuple[list[tuple[str, Tensor, Tensor]], list[Tensor | None]]:
    """(block, δ [b, T, out], x [b, T, in]) of each call, and the gradients at the parameters, by one backward pass.

    δ is the gradient of Σ_i loss_i at the output, x the input, both in float32 or wider; a call that the losses don't
    depend on has none. The parameters' gradients are those of Σ_i w_i loss_i, with `weights` [b], all 1 by default:
    powers of two change no digit of the δ.
    """
    flat = [(block, x, y) for block, each in calls.items() for x, y in each]
    wanted = [y for _, _, y in flat] + list(parameters)
    if not wanted:
        return [], []
    weights = torch.ones_like(losses) if weights is None else weights.to(losses)
    values = torch.autograd.grad((weights * losses).sum(), wanted, allow_unused=True)
    pairs = []
    for (block, x, _), delta in zip(flat, values, strict=False):
        if delta is not None:
            delta, x = (wide(each).reshape(len(losses), -1, each.shape[-1]) for each in (delta, x.detach()))
            pairs.append((block, delta / weights[:, None, None].to(delta), x))
    return pairs, list(values[len(flat) :])


def wide(tensor: Tensor) -> Tensor:
    """In float32, where it was in less."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
