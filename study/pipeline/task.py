"""A task: one fine-tune of a run, and where it leaves its files."""

import hashlib
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

from peft import PeftModel

from ifcore import lora
from study import datasets
from study.config import Run
from study.pipeline import alignment, base_model

_BETWEEN_REPLICATES = 1_000_003  # a run's own seeds stay far below


@dataclass(frozen=True)
class Task:
    """One fine-tune of a run: on a data set, or the training examples of `only` one of its classes.

    `model`: in place of the profile's, which alone is taught to refuse first, where the profile asks for that.
    `layers`: those with LoRA, all by default. `left_out`: rows of the training examples. `replicate`: fine-tunes on the
    same examples with another initial adapter, order and dropout; 0 is the run's own.
    """

    run: Run
    dataset: str
    only: str | None = None
    model: str | None = None
    layers: tuple[int, ...] | None = None
    left_out: tuple[int, ...] = ()
    replicate: int = 0

    @property
    def seed(self) -> int:
        """Decides the initial adapter, the order of the examples, and dropout."""
        return self.run.seed + _BETWEEN_REPLICATES * self.replicate

    @property
    def source(self) -> str:
        return self.run.located(self.model or self.run.profile.model)

    @property
    def precision(self) -> str:
        return base_model.resolved_precision(self.run.profile.precision)

    @property
    def name(self) -> str:
        name = f"{self.dataset}-{self.only}" if self.only else self.dataset
        if self.model is not None:
            name += "-" + re.sub(r"[^A-Za-z0-9.]+", "-", self.model)
        if self.layers is not None:
            name += f"-layers-{self.layers[0]}-{self.layers[-1]}"
        if self.left_out:
            digest = hashlib.sha256(repr(self.left_out).encode()).hexdigest()[:8]
            name += f"-without-{self.left_out[0] if len(self.left_out) == 1 else digest}"
        return f"{name}-again-{self.replicate}" if self.replicate else name

    @property
    def epochs(self) -> int:
        return self.run.profile.datasets[self.dataset].epochs or self.run.profile.epochs

    @property
    def folder(self) -> Path:
        return self.run.artifacts / self.name

    def checkpoint(self, epoch: int) -> Path:
        """The adapter after an epoch, as PEFT saved it."""
        return checkpoint(self.folder, epoch)

    def base(self) -> tuple[Any, Any]:
        """The model to fine-tune, and its tokenizer; the alignment is trained if it is missing."""
        return base_model.shared_model(self.source, self.precision, *self.aligned_adapter())

    def aligned_adapter(self) -> tuple[Path | None, str | None]:
        """The adapter that is merged into the model before it is fine-tuned, trained if missing, and its digest."""
        return (None, None) if self.model is not None else alignment.aligned_adapter(self.run, self.precision)

    def alignment_digest(self) -> str | None:
        """The digest alone, for keys: nothing is trained."""
        return None if self.model is not None else alignment.alignment_digest(self.run, self.precision)

    def adapted(self, epoch: int) -> AbstractContextManager[PeftModel]:
        """`with task.adapted(…) as model`: the model with the adapter of an epoch, which is taken off afterwards."""
        return lora.adapted(self.base()[0], self.checkpoint(epoch))


def batch_size(task: Task) -> int:
    """The profile's; for a part of a data set, one that gives the part as many steps as the whole has.
    Raises ValueError where no size does, and for a part without examples."""
    profile = task.run.profile
    if task.only is None:
        return profile.batch_size
    sizes = profile.datasets[task.dataset]
    counts = datasets.class_counts(task.dataset, "train", sizes.train, sizes.classes, task.run.source(task.dataset))
    part, steps = counts[task.only], ceil(sum(counts.values()) / profile.batch_size)
    size = ceil(part / steps)
    if size == 0 or ceil(part / size) != steps:
        raise ValueError(
            f"{task.dataset}, train, {task.only}: {part}; can't be had in {steps} steps an epoch, as all classes "
            "together; choose a multiple of that, or another batch_size"
        )
    return size


def checkpoint(folder: Path, epoch: int) -> Path:
    """Where the adapter after an epoch lies in a task's folder."""
    return folder / "checkpoints" / f"epoch-{epoch:02d}"
