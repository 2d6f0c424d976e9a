"""Per-example gradients on disk, where they are larger than memory: written batch by batch, read by slices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import Tensor, nn

from ifcore import gradients, io, representations, trainable
from ifcore.batches import Batch
from ifcore.losses import causal_lm, uncompiled
from ifcore.projection import Projection

ROWS, LOSSES = "rows", "losses"
BESIDE = (ROWS, LOSSES, *representations.POSITIONS)  # what a shard has beside gradients


class Store(Mapping):
    """Gradients in safetensors shards: block -> something with a `shape` (N, P_b) whose `[:, a:b]` is read from disk.

    A shard holds some rows of every block, and which rows they are. What `gram.Gram.from_gradients` is given where
    the gradients are larger than memory. Raises ValueError where the shards' rows are not 0 … N−1, each once, or their
    blocks are not the same.
    """

    def __init__(self, shards: Sequence[Path]):
        if not shards:
            raise ValueError("shards: none; write some first")
        self._shards, pieces = list(map(Path, shards)), []
        for path in self._shards:
            with safe_open(path, "pt") as shard:
                shapes = {name: shard.get_slice(name).get_shape()[1:] for name in shard.keys()}
                pieces.append(shard.get_tensor(ROWS))
            shapes = {name: shape for name, shape in sorted(shapes.items()) if name not in BESIDE}
            if path == self._shards[0]:
                self._sizes = {block: size for block, (size,) in shapes.items()}
            if {block: [size] for block, size in self._sizes.items()} != shapes:
                raise ValueError(f"shards: {path} has other blocks than {shards[0]}; remove what is not of one model")
        rows = torch.cat(pieces)
        self._order = rows.argsort()
        if not torch.equal(rows[self._order], torch.arange(len(rows))):
            raise ValueError(f"shards: in {Path(shards[0]).parent}, their rows are not 0 … {len(rows) - 1}, each once")

    def __getitem__(self, block: str) -> _Block:
        return _Block(self._shards, block, self._order, (len(self._order), self._sizes[block]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def nbytes(self) -> int:
        """Of the gradients, in float32."""
        return 4 * len(self._order) * sum(self._sizes.values())

    def beside(self, name: str) -> Tensor:
        """The hidden states [N, H] at one of `representations.POSITIONS`, or the "losses" [N], as `write` left them."""
        return _read(self._shards, name)[self._order]


@dataclass(frozen=True)
class _Block:
    shards: Sequence[Path]
    name: str
    order: Tensor
    shape: tuple[int, int]

    def __getitem__(self, at: tuple[slice, slice]) -> Tensor:
        rows, columns = at
        if rows != slice(None):
            raise IndexError(f"{at}: all rows are read at once; write [:, a:b]")
        return _read(self.shards, self.name, columns)[self.order]


def _read(shards: Sequence[Path], name: str, columns: slice | None = None) -> Tensor:
    """A tensor of every shard, or some columns. A shard that stayed open would stay mapped, and fill the memory."""
    pieces = []
    for path in shards:
        with safe_open(path, "pt") as shard:
            pieces.append((shard.get_slice(name)[:, columns] if columns else shard.get_tensor(name)).clone())
    return torch.cat(pieces)


def shard(rows: Tensor, gradients: Mapping[str, Tensor], **more: Tensor) -> dict[str, Tensor]:
    """The tensors of one shard of a Store: the gradients [b, P_b] of the examples `rows` [b]."""
    return {**gradients, ROWS: rows, **more}


def write(
    folder: Path,
    model: nn.Module,
    batches: Sequence[Batch],
    progress: str = "",
    share: tuple[int, int] = (0, 1),
    positions: Sequence[representations.Position] = representations.POSITIONS,
    projection: Projection | None = None,
) -> list[Path]:
    """Leave each batch's gradients, hidden states at some positions and losses as a shard in `folder`; all, in order.

    What is there already is not made again. Beside a shard lies what determined it (the model's weights, the batch, the
    projection of its gradients if any) and its SHA-256: one of another model or projection, one half written and one
    altered are made again. `share`: (this process's number, how many there are), each of which does its part of the
    batches.
    """
    model = uncompiled(model)
    identity, (rank, processes) = _model_hash(model), share
    missing = []
    for number, batch in enumerate(batches):
        path, key = _path(folder, number), _key(identity, batch, positions, projection)
        if number % processes == rank and not _is_sound(path, key):
            missing.append((path, key, batch))
    computed = gradients.stream(model, [batch for _, _, batch in missing], progress, projection=projection)
    for (path, key, batch), (rows, losses, hidden) in zip(missing, computed, strict=True):
        states = {position: representations.at(hidden, batch, position) for position in positions}
        io.write_tensors(path, shard(batch.rows, rows, losses=losses, **states))
        io.write_json(_record(path), {"of": key, "sha256": io.sha256(path)})
    return [_path(folder, number) for number in range(len(batches))]


def read(
    folder: Path,
    model: nn.Module,
    batches: Sequence[Batch],
    positions: Sequence[representations.Position] = representations.POSITIONS,
    projection: Projection | None = None,
) -> Store:
    """What `write` left of these batches.

    Raises ValueError where a shard is missing, was altered, or is of another model, batch or projection.
    """
    identity = _model_hash(uncompiled(model))
    paths = [_path(folder, number) for number in range(len(batches))]
    for path, batch in zip(paths, batches, strict=True):
        if not _is_sound(path, _key(identity, batch, positions, projection)):
            remedy = "write it again, with the same projection"
            raise ValueError(f"store: {path} is missing, altered, or of another model; {remedy}")
    return Store(paths)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"


def _record(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_sound(path: Path, key: str) -> bool:
    record = io.read_json(_record(path))
    return record.get("of") == key and path.is_file() and record.get("sha256") == io.sha256(path)


def _model_hash(model: Any) -> str:
    """What tells the model from others: all that its adapter trains, some numbers of other tensors, its settings."""
    lm = causal_lm(model)
    settings = [lm.config.to_dict(), *(config.to_dict() for config in model.peft_config.values())]
    settings += [(name, layer.scaling) for name, layer in model.named_modules() if isinstance(layer, LoraLayer)]
    text = json.dumps(settings, sort_keys=True, default=lambda x: sorted(map(str, x)) if isinstance(x, set) else str(x))
    digest = hashlib.sha256(text.encode())
    trained = trainable.trainable_parameters(model)
    for name, parameter in (*model.named_parameters(), *model.named_buffers()):
        whole = name.removesuffix(".weight") in trained
        sample = parameter.detach().flatten()[:: 1 if whole else parameter.numel() // 256 | 1]
        digest.update(f"{name} {parameter.dtype} ".encode() + sample.float().cpu().numpy().tobytes())
    return digest.hexdigest()


def _key(identity: str, batch: Batch, positions: Sequence[str], projection: Projection | None) -> str:
    projected = () if projection is None else (str(projection),)
    names = map(str.encode, (identity, ROWS, LOSSES, *positions, *projected))
    tensors = (value.cpu().numpy().tobytes() for value in batch.tensors().values())
    return hashlib.sha256(b"".join([*names, *tensors])).hexdigest()
