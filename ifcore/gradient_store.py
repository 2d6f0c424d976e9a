"""Per-example gradients on disk, where they are larger than memory: written batch by batch, read by slices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from torch import Tensor, nn

from ifcore import gradients, io, representations, trainable
from ifcore.examples import Batch
from ifcore.lora import causal_lm, uncompiled

ROWS, HIDDEN = "rows", "hidden"


class Store(Mapping):
    """Gradients in safetensors shards: block -> something with a `shape` (N, P_b) whose `[:, a:b]` is read from disk.

    A shard holds some rows of every block, and which rows they are. What `gram.Gram.from_gradients` is given where
    the gradients are larger than memory. Raises ValueError where the shards' rows are not 0 … N−1, each once, or their
    blocks are not the same.
    """

    def __init__(self, shards: Sequence[Path]):
        if not shards:
            raise ValueError("shards: none; write some first")
        self._shards, rows = list(map(Path, shards)), []
        for path in self._shards:
            with safe_open(path, "pt") as shard:
                shapes = {name: shard.get_slice(name).get_shape()[1:] for name in shard.keys()}
                rows.append(shard.get_tensor(ROWS))
            shapes = {name: shape for name, shape in sorted(shapes.items()) if name not in (ROWS, HIDDEN)}
            if path == self._shards[0]:
                self._sizes = {block: size for block, (size,) in shapes.items()}
            if {block: [size] for block, size in self._sizes.items()} != shapes:
                raise ValueError(f"shards: {path} has other blocks than {shards[0]}; remove what is not of one model")
        self._order = (rows := torch.cat(rows)).argsort()
        if not torch.equal(rows[self._order], torch.arange(len(rows))):
            raise ValueError(f"shards: in {Path(shards[0]).parent}, their rows are not 0 … {len(rows) - 1}, each once")

    def __getitem__(self, block: str) -> _Block:
        return _Block(self._shards, block, self._order, (len(self._order), self._sizes[block]))

    def __iter__(self) -> Iterator[str]:
        return iter(self._sizes)

    def __len__(self) -> int:
        return len(self._sizes)

    def hidden(self) -> Tensor:
        """The hidden states [N, H] of `representations`, as `write` left them."""
        return _read(self._shards, HIDDEN, slice(None))[self._order]


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


def _read(shards: Sequence[Path], name: str, columns: slice) -> Tensor:
    """Some columns of a tensor of every shard. A shard that stayed open would stay mapped, and fill the memory."""
    pieces = []
    for path in shards:
        with safe_open(path, "pt") as shard:
            pieces.append(shard.get_slice(name)[:, columns].clone())
    return torch.cat(pieces)


def shard(rows: Tensor, gradients: Mapping[str, Tensor], **more: Tensor) -> dict[str, Tensor]:
    """The tensors of one shard of a Store: the gradients [b, P_b] of the examples `rows` [b]."""
    return {**gradients, ROWS: rows, **more}


def write(
    folder: Path, model: nn.Module, batches: Sequence[Batch], progress: str = "", share: tuple[int, int] = (0, 1)
) -> None:
    """Leave each batch's gradients and hidden states as a shard in `folder`; what is there already is not made again.

    Beside a shard lies what determined it (the model's weights, the batch) and its SHA-256: one of another model, one
    half written and one altered are made again. `share`: (this process's number, how many there are), each of which
    does its part of the batches.
    """
    model = uncompiled(model)
    of, (rank, processes) = _weights(model), share
    missing = []
    for number, batch in enumerate(batches):
        path, key = _path(folder, number), _key(of, batch)
        if number % processes == rank and not _there(path, key):
            missing.append((path, key, batch))
    computed = gradients.with_states(model, [batch for _, _, batch in missing], progress)
    for (path, key, batch), (rows, hidden) in zip(missing, computed, strict=True):
        states = representations.at(hidden, batch, "prompt_end")
        io.write_tensors(path, shard(batch.rows, rows, **{HIDDEN: states}))
        io.write_json(_record(path), {"of": key, "sha256": io.sha256(path)})


def read(folder: Path, model: nn.Module, batches: Sequence[Batch]) -> Store:
    """What `write` left of these batches.

    Raises ValueError where a shard is missing, was altered, or is of another model or batch.
    """
    of = _weights(uncompiled(model))
    paths = [_path(folder, number) for number in range(len(batches))]
    for path, batch in zip(paths, batches, strict=True):
        if not _there(path, _key(of, batch)):
            raise ValueError(f"store: {path} is missing, altered, or of another model; write it again")
    return Store(paths)


def _path(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.safetensors"


def _record(path: Path) -> Path:
    return path.with_suffix(".json")


def _there(path: Path, key: str) -> bool:
    record = io.read_json(_record(path))
    return record.get("of") == key and path.is_file() and record.get("sha256") == io.sha256(path)


def _weights(model: nn.Module) -> str:
    """What tells the model from others: all that its adapter trains, some numbers of other tensors, its settings."""
    lm = causal_lm(model)
    settings = [lm.config.to_dict(), *(each.to_dict() for each in model.peft_config.values())]
    settings += [(name, each.scaling) for name, each in model.named_modules() if isinstance(each, LoraLayer)]
    text = json.dumps(settings, sort_keys=True, default=lambda x: sorted(map(str, x)) if isinstance(x, set) else str(x))
    found = hashlib.sha256(text.encode())
    own = trainable.trainable_parameters(model)
    for name, parameter in (*model.named_parameters(), *model.named_buffers()):
        whole = name.removesuffix(".weight") in own
        some = parameter.detach().flatten()[:: 1 if whole else parameter.numel() // 256 | 1]
        found.update(f"{name} {parameter.dtype} ".encode() + some.float().cpu().numpy().tobytes())
    return found.hexdigest()


def _key(of: str, batch: Batch) -> str:
    parts = [of.encode(), *(value.cpu().numpy().tobytes() for value in vars(batch).values())]
    return hashlib.sha256(b"".join(parts)).hexdigest()
