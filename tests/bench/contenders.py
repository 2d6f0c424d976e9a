"""The contenders that need no peer: bare passes and this project.

Each takes the job's folder and the precision, loads what it needs, and returns the function to be timed, which returns
scores [M, N] by method.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from ifcore.batches import example_batches
from tests.bench import job

Work = Callable[[], dict[str, torch.Tensor]]


def floor(folder: Path, dtype: torch.dtype) -> Work:
    """A forward and a backward pass over every batch, the head at the response alone; there are no scores."""
    from ifcore.examples import Example
    from ifcore.losses import example_losses

    model, tokenizer, rows = _loaded(folder, dtype)
    examples = [Example(row["prompt"], row["response"]) for part in ("train", "val") for row in rows[part]]
    parts = [examples[: len(rows["train"])], examples[len(rows["train"]) :]]
    model.requires_grad_(False)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)

    def work():
        for part in parts:
            for batch in example_batches(model, tokenizer, part, job.BATCH):
                example_losses(model, batch).sum().backward()
                model.zero_grad()
        return {}

    return work


def whole_floor(folder: Path, dtype: torch.dtype) -> Work:
    """The same with the head at every position."""
    from ifcore import loading

    model, _ = loading.load(f"path:{folder / 'base'}", dtype)
    return _every_position(job.with_adapter(model, folder), folder)


def stock_floor(folder: Path, dtype: torch.dtype) -> Work:
    """The same with the attention and the matrix products that transformers selects, as in the peers' models."""
    return _every_position(job.load(folder, dtype), folder)


def _every_position(model, folder: Path) -> Work:
    rows = job.read(folder)

    def work():
        for part in ("train", "val"):
            for start in range(0, len(rows[part]), job.BATCH):
                batch = job.pad(rows[part][start : start + job.BATCH])
                logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
                job.example_losses(logits, batch["labels"]).sum().backward()
                model.zero_grad()
        return {}

    return work


def gradients(folder: Path, dtype: torch.dtype) -> Work:
    """`example_gradients` alone, for which `floor` is the floor."""
    from ifcore import example_gradients
    from ifcore.examples import Example

    model, tokenizer, rows = _loaded(folder, dtype)
    parts = [[Example(row["prompt"], row["response"]) for row in rows[part]] for part in ("train", "val")]

    def work():
        for part in parts:
            example_gradients(model, example_batches(model, tokenizer, part, job.BATCH))
        return {}

    return work


def engine(folder: Path, dtype: torch.dtype) -> Work:
    """`attribute` with every method but EK-FAC."""
    return _attributed(folder, dtype, ("gradsim", "cosine", "datainf", "lissa", "exact", "relatif", "repsim"))


def engine_ekfac(folder: Path, dtype: torch.dtype) -> Work:
    """`attribute` with EK-FAC and GradSim."""
    return _attributed(folder, dtype, ("gradsim", "ekfac"))


def engine_ekfac_sampled(folder: Path, dtype: torch.dtype) -> Work:
    """`attribute` with EK-FAC of the Fisher of labels drawn from the model, and GradSim."""
    return _attributed(folder, dtype, ("gradsim", "ekfac_sampled"))


def engine_projected(folder: Path, dtype: torch.dtype) -> Work:
    """`attribute` with GradSim of gradients projected to job.PROJECTED numbers a block."""
    return _attributed(folder, dtype, ("gradsim",), projection=job.PROJECTED)


def engine_rept(folder: Path, dtype: torch.dtype) -> Work:
    """`attribute` with RepT."""
    return _attributed(folder, dtype, ("rept",))


def fine_tune(folder: Path, dtype: torch.dtype) -> Work:
    """`finetune` as the job's was, which `engine_unrolled` repeats; there are no scores."""
    import tempfile

    from ifcore import training
    from ifcore.examples import Example
    from ifcore.tokens import tokenise

    model, tokenizer, rows = _loaded(folder, dtype)
    model.set_adapter(model.active_adapter)
    tokens = tokenise(tokenizer, [Example(row["prompt"], row["response"]) for row in rows["train"]])

    def work():
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            training.finetune(model, tokens, [], Path(scratch), job.settings(rows["job"]["epochs"]), label=None)
        return {}

    return work


def engine_unrolled(folder: Path, dtype: torch.dtype) -> Work:
    """`attribute` with the derivative of the job's fine-tune, which it repeats."""
    return _attributed(folder, dtype, ("unrolled",), checkpoints=folder / "checkpoints")


def engine_tracin(folder: Path, dtype: torch.dtype) -> Work:
    """`attribute` with TracIn over the checkpoints of the job's fine-tune."""
    return _attributed(folder, dtype, ("tracin",), checkpoints=folder / "checkpoints")


def engine_source(folder: Path, dtype: torch.dtype) -> Work:
    """`attribute` with SOURCE over the checkpoints of the job's fine-tune."""
    return _attributed(folder, dtype, ("source",), checkpoints=folder / "checkpoints")


def _attributed(folder: Path, dtype: torch.dtype, methods: tuple[str, ...], **options) -> Work:
    from ifcore import attribute, lora

    model, tokenizer, rows = _loaded(folder, dtype)
    if "checkpoints" in rows:
        model = lora.with_adapter(model.unload(), Path(rows["checkpoints"][-1]))
    parts = [[{name: row[name] for name in ("prompt", "response")} for row in rows[part]] for part in ("train", "val")]
    options |= {"methods": methods, "batch_size": job.BATCH, "progress": False}

    def work():
        frames = attribute(model, tokenizer, *parts, **options)
        return {method: torch.from_numpy(frame.to_numpy().copy()) for method, frame in frames.items()}

    return work


def _loaded(folder: Path, dtype: torch.dtype):
    from ifcore import loading, lora

    model, tokenizer = loading.load(f"path:{folder / 'base'}", dtype)
    return lora.with_adapter(model, folder / "adapter"), tokenizer, job.read(folder)
