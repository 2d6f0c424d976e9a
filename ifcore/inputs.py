"""What methods compute their scores from: made of a model and its examples when it is first asked for."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ifcore import gradient_store, gradients, representations, trainable
from ifcore.batches import Batch, batches
from ifcore.checkpoints import Checkpoint, read_checkpoints, wearing
from ifcore.examples import Tokens
from ifcore.forecast import check_disk, forecast, gradient_bytes
from ifcore.gram import Gram
from ifcore.losses import device_of, evaluating, example_losses, uncompiled
from ifcore.projection import Projection

STATES: representations.Position = "prompt_end"  # where RepSim reads them

PerExample = Mapping[str, Any]  # block -> gradients [n, P_b], or what reads them when sliced


@dataclass(frozen=True)
class Inputs:
    """A model with its adapter and examples: their gradients, hidden states, and the fine-tune's checkpoints.

    `tokens`: those of each part, train and val. `rejected`: of each explained example [M], the place in `tokens["val"]`
    of the response that is held against it, or −1; without, all of val are explained. `budget`: bytes; gradients that
    take more than half of it go to `folder`, by default a temporary one. `checkpoints_in`: where those are.
    `factors`: is filled by the pass over the training examples, where that is in memory. `label`: of progress bars.
    """

    model: Any
    tokens: Mapping[str, Sequence[Tokens]]
    pad_id: int | None
    batch_size: int
    budget: int
    folder: Path | None = None
    rejected: Sequence[int] = ()
    checkpoints_in: Path | None = None
    projection: Projection | None = None
    factors: gradients.Factors = field(default_factory=lambda: gradients.Factors(()))
    progress: bool = True
    label: str = ""

    @cached_property
    def batches(self) -> dict[str, list[Batch]]:
        """Those of each part."""
        return {part: batches(list(tokens), self.batch_size, self.pad_id) for part, tokens in self.tokens.items()}

    @cached_property
    def checkpoints(self) -> list[Checkpoint]:
        """Those of the fine-tune; ValueError where none are given."""
        if self.checkpoints_in is None:
            raise ValueError("checkpoints: none; name the folder of the fine-tune's (--checkpoints)")
        return read_checkpoints(self.checkpoints_in)

    @property
    def count(self) -> int:
        """M, how many examples are explained."""
        return len(self.rejected) or len(self.tokens["val"])

    @property
    def train(self) -> PerExample:
        """Block -> gradients of the training examples, [N, P_b]."""
        return self._per_example["train"]

    @property
    def val(self) -> PerExample:
        """Block -> gradients of the explained loss, [M, P_b]; of a contrast, of the difference of two losses."""
        rows = self._per_example["val"]
        return rows if not self.rejected else {block: _Differences(rows[block], self.rejected) for block in rows}

    @cached_property
    def states(self) -> dict[str, Tensor]:
        """The hidden states of each part that RepSim compares, [N, H] and [M, H]."""
        if "_per_example" in vars(self):
            states = self._states
        else:  # they alone are wanted, and take no gradients
            model, first = self.model, self.batches["train"][0].to(device_of(self.model))
            if getattr(uncompiled(model), "peft_config", None):  # else a model by itself, which has states, too
                trainable.trainable_parameters(model)
            with evaluating(model), torch.no_grad():
                gradients.check_loss(model, first, example_losses(model, first))
            parts = self.batches.items()
            states = {part: representations.representations(model, of, self.bar(part)) for part, of in parts}
        return states | {"val": states["val"][: self.count]}

    @property
    def combinations(self) -> Tensor:
        """Which losses of val make up each explained one: 1, and −1 for what is held against it, [M, M + K] float64."""
        matrix = torch.zeros(self.count, len(self.tokens["val"]), dtype=torch.float64)
        for row in range(self.count):
            matrix[row, row] = 1
            if self.rejected and self.rejected[row] >= 0:
                matrix[row, self.rejected[row]] = -1
        return matrix

    def grams(self, train: PerExample | None = None, weights: Mapping[str, Tensor] | None = None) -> Iterator[Gram]:
        """A Gram of one block after another; of other rows than the training examples', and weighted, if asked."""
        sizes = None
        if self.projection is not None:
            parameters = trainable.trainable_parameters(self.model)
            sizes = {block: parameter.numel() for block, parameter in parameters.items()}
        yield from Gram.by_block(train or self.train, self.val, self.budget // 8, weights, sizes)

    @contextmanager
    def at(self, checkpoint: Checkpoint) -> Iterator[Inputs]:
        """`with inputs.at(checkpoint) as there`: the same of the adapter as it was then, kept for further methods.

        Each has its share of the budget.
        """
        place, name = self.folder or self._place, checkpoint.folder.name
        if name not in self._earlier:
            share = replace(self, budget=self.budget // len(self.checkpoints), factors=gradients.Factors(()))
            self._earlier[name] = replace(share, folder=place and place / name, label=f" {name}")
        with wearing(self.model, checkpoint.folder):
            yield self._earlier[name]

    def bar(self, part: str) -> str:
        """The label of a progress bar; none without progress."""
        return f"gradients {part}{self.label}" if self.progress else ""

    def rows(self, name: str, batches: Sequence[Batch]) -> PerExample:
        """Block -> gradients [n, P_b] of some batches, in memory or under a `name` on disk, as those of the parts are.

        The same pass yields the hidden states and, in memory, EK-FAC's factors of the training examples.
        """
        rank, processes = process_share()
        if self._place is None:
            return self._in_memory(name, batches)
        kinds = [STATES], self.projection
        gradient_store.write(self._place / name, self.model, batches, self.bar(name), (rank, processes), *kinds)
        if processes > 1:
            barrier()()
        store = gradient_store.read(self._place / name, self.model, batches, *kinds)
        self._states[name] = store.beside(STATES)
        return store

    @cached_property
    def _per_example(self) -> dict[str, PerExample]:
        place, processes = self._place, process_share()[1]
        if place is not None:
            check_disk(self.model, self.batches, place, self.projection)
        if self.progress and not self.label:
            about = forecast(self.model, self.batches, place, self.budget, processes, self.projection)
            print(about, file=sys.stderr)
        return {part: self.rows(part, of) for part, of in self.batches.items()}

    @cached_property
    def _place(self) -> Path | None:
        """Where gradients go, if not into memory."""
        if self.folder is not None:
            return self.folder
        if process_share()[1] > 1:
            raise ValueError(f"store: none, for {process_share()[1]} processes; name a folder that all of them see")
        fits = gradient_bytes(self.model, self.batches, self.projection) <= self.budget // 2
        return None if fits else Path(self._temporary.name)

    def _in_memory(self, name: str, batches: Sequence[Batch]) -> PerExample:
        factors = self.factors if name == "train" else None
        stream = gradients.stream(self.model, batches, self.bar(name), factors, self.projection)
        pieces = (
            computed.gradients | {STATES: representations.at(computed.hidden, batch, STATES)}
            for batch, computed in zip(batches, stream, strict=True)
        )
        per_example = gradients.gather(batches, pieces)
        self._states[name] = per_example.pop(STATES)
        return per_example

    @cached_property
    def _earlier(self) -> dict[str, Inputs]:
        return {}

    @cached_property
    def _states(self) -> dict[str, Tensor]:
        return {}

    @cached_property
    def _temporary(self) -> tempfile.TemporaryDirectory:
        return tempfile.TemporaryDirectory()


class Stacked(Mapping):
    """Block -> the rows of several mappings, one below another, read when they are sliced."""

    def __init__(self, parts: Sequence[PerExample]):
        self._parts = parts

    def __getitem__(self, block: str) -> _Stack:
        return _Stack([part[block] for part in self._parts])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts[0])

    def __len__(self) -> int:
        return len(self._parts[0])


@dataclass(frozen=True)
class _Stack:
    parts: Sequence[Tensor]

    @property
    def shape(self) -> tuple[int, int]:
        return sum(part.shape[0] for part in self.parts), self.parts[0].shape[1]

    def __getitem__(self, at: tuple[slice, slice]) -> Tensor:
        return torch.cat([part[at] for part in self.parts])


@dataclass(frozen=True)
class _Differences:
    """Rows [M, P_b] of contrasts: each explained row less that which is held against it, read when sliced."""

    rows: Tensor
    rejected: Sequence[int]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rejected), self.rows.shape[1]

    def __getitem__(self, at: tuple[slice, slice]) -> Tensor:
        whole, other = self.rows[:, at[1]], torch.tensor(self.rejected)
        return whole[: len(other)] - whole[other] * (other >= 0)[:, None].to(whole)


def process_share() -> tuple[int, int]:
    """This process's number, and how many there are."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def barrier() -> Callable[[], None]:
    """What waits until every process is there; it raises RuntimeError where one has died."""
    from accelerate import PartialState  # takes a second, and none of it is needed by a process alone

    state = PartialState(cpu=True, timeout=timedelta(days=7))  # shares may take very different times

    def wait() -> None:
        try:
            state.wait_for_everyone()
        except RuntimeError as error:
            raise RuntimeError("another process has died, see its error; start again: what is done is kept") from error

    return wait
