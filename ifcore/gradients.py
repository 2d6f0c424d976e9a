"""Per-example gradients of the LoRA parameters, a batch at a time, in memory or streamed to a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from tqdm import tqdm

from ifcore.examples import Batch
from ifcore.models import device_of, evaluating, example_losses

_ROWS = "rows"


def example_gradients(model: nn.Module, batches: Iterable[Batch], progress: str = "") -> dict[str, Tensor]:
    """The gradient of every example's own loss (that of batch size 1, in evaluation mode) for each LoRA parameter.

    Returns block -> [N, P_b] on the CPU: a block is one `lora_A` or `lora_B` weight, flattened; row i belongs to the
    example whose `rows` entry is i, so `batches` must together hold the rows 0 … N−1. With `progress`, a bar of that
    name. Raises ValueError for a model without LoRA linears.
    """
    batches = list(batches)
    rows = torch.cat([batch.rows for batch in batches])
    if not torch.equal(rows.sort().values, torch.arange(len(rows))):
        raise ValueError(f"batches: their rows must be 0 … {len(rows) - 1}, each once")
    pieces = list(stream(model, batches, progress))
    order = rows.argsort()
    return {block: torch.cat([piece[block] for piece in pieces])[order] for block in pieces[0]}


def stream(model: nn.Module, batches: Iterable[Batch], progress: str = "") -> Iterator[dict[str, Tensor]]:
    """Yields block -> [b, P_b] on the CPU for one batch after another: for gradients that memory can't hold at once.

    For a linear map y = W x the gradient of example i is Σ_t δ_it x_itᵀ, with δ the gradient of Σ_i loss_i at y. The
    examples of a batch don't see one another, so one forward and one backward pass yield every row.
    """
    layers = {name: module for name, module in model.named_modules() if _is_lora_linear(name, module)}
    if not layers:
        raise ValueError("model: it has no LoRA linear layers; wrap it with peft or load an adapter first")
    bar = tqdm(batches, desc=progress, unit="batch", disable=not progress)
    with evaluating(model), _requiring_grad(layers), _captured(layers) as captured:
        for batch in bar:
            losses = example_losses(model, batch.to(device_of(model)))
            inputs, outputs = zip(*(captured[name] for name in layers), strict=True)
            deltas = torch.autograd.grad(losses.sum(), outputs)
            yield {
                name: torch.einsum("bto,bti->boi", _wide(delta), _wide(x.detach())).flatten(1).cpu()
                for name, delta, x in zip(layers, deltas, inputs, strict=True)
            }
            captured.clear()


class Store(Mapping):
    """Per-example gradients in a folder of safetensors shards: block -> [N, P_b], read from disk a block at a time.

    A shard holds some rows of every block, and which rows they are. What `gram.Gram.from_gradients` is given where
    the gradients are larger than memory.
    """

    def __init__(self, shards: Sequence[Path]):
        self._shards = [safe_open(shard, "pt") for shard in shards]
        self._order = torch.cat([shard.get_tensor(_ROWS) for shard in self._shards]).argsort()

    def __getitem__(self, block: str) -> Tensor:
        return torch.cat([shard.get_tensor(block) for shard in self._shards])[self._order]

    def __iter__(self) -> Iterator[str]:
        return (name for name in sorted(self._shards[0].keys()) if name != _ROWS)

    def __len__(self) -> int:
        return len(self._shards[0].keys()) - 1


def shard(rows: Tensor, gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one shard of a Store: the gradients [b, P_b] of the examples `rows` [b]."""
    return gradients | {_ROWS: rows}


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _is_lora_linear(name: str, module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and (".lora_A." in name or ".lora_B." in name)


@contextmanager
def _captured(layers: dict[str, nn.Module]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Fills the dictionary with each layer's input and output on every forward pass."""
    captured: dict[str, tuple[Tensor, Tensor]] = {}

    def hook(name: str):
        return lambda _, arguments, output: captured.update({name: (arguments[0], output)})

    handles = [module.register_forward_hook(hook(name)) for name, module in layers.items()]
    try:
        yield captured
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _requiring_grad(layers: dict[str, nn.Module]) -> Iterator[None]:
    """Adapters loaded for inference are frozen; the outputs need a graph to be differentiated at."""
    before = {module: module.weight.requires_grad for module in layers.values()}
    for module in layers.values():
        module.weight.requires_grad_(True)
    try:
        yield
    finally:
        for module, needed in before.items():
            module.weight.requires_grad_(needed)
