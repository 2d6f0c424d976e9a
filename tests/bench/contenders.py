"""The contenders that need no peer: bare passes, this project, and the loops that it replaces.

Each takes the job's folder and the precision, loads what it needs, and returns the function to be timed, which returns
scores by method, `gradsim` [M, N] among them.
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


def loops(folder: Path, dtype: torch.dtype) -> Work:
    """Batch size 1, and a Python loop over training example, validation example and block for each method."""
    model, rows = job.load(folder, dtype), job.read(folder)
    parameters = {name: parameter for name, parameter in model.named_parameters() if "lora_" in name}

    def gradient(row: dict) -> dict[str, torch.Tensor]:
        batch = job.pad([row])
        loss = job.example_losses(model(input_ids=batch["input_ids"]).logits, batch["labels"]).sum()
        grads = torch.autograd.grad(loss, list(parameters.values()))
        return {name: grad.float().flatten() for name, grad in zip(parameters, grads, strict=True)}

    def work():
        train, val = ([gradient(row) for row in rows[part]] for part in ("train", "val"))
        return looped(train, val)

    return work


def looped(
    train: list[dict[str, torch.Tensor]], val: list[dict[str, torch.Tensor]], damping: float = 0.1, iterations: int = 10
) -> dict[str, torch.Tensor]:
    """GradSim, DataInf and LiSSA [M, N] from lists of gradients, written as their formulas are."""
    scores = {method: torch.zeros(len(val), len(train)) for method in ("gradsim", "datainf", "lissa")}
    for block in train[0]:
        G = [gradient[block] for gradient in train]
        lam = damping * sum(float(g @ g) for g in G) / (len(G) * len(G[0]))
        largest = _largest(G)
        for m, gradient in enumerate(val):
            v = gradient[block]
            products = [g @ v for g in G]
            inverse = sum((v - p / (lam + g @ g) * g for g, p in zip(G, products, strict=True)), torch.zeros_like(v))
            inverse = inverse / (lam * len(G))
            r, alpha = v.clone(), 1 / (largest / len(G) + lam)
            for _ in range(iterations):
                moved = sum(((g @ r) * g for g in G), torch.zeros_like(v)) / len(G) + lam * r
                r = v + r - alpha * moved
            for n, g in enumerate(G):
                scores["gradsim"][m, n] += products[n]
                scores["datainf"][m, n] += inverse @ g
                scores["lissa"][m, n] += alpha * (r @ g)
    return scores


def _largest(G: list[torch.Tensor]) -> float:
    """The largest eigenvalue of Σ g gᵀ."""
    rows = torch.stack(G).double()
    return float(torch.linalg.eigvalsh(rows @ rows.T)[-1])


def _attributed(folder: Path, dtype: torch.dtype, methods: tuple[str, ...]) -> Work:
    from ifcore import attribute

    model, tokenizer, rows = _loaded(folder, dtype)
    parts = [[{name: row[name] for name in ("prompt", "response")} for row in rows[part]] for part in ("train", "val")]

    def work():
        frames = attribute(model, tokenizer, *parts, methods=methods, batch_size=job.BATCH, progress=False)
        return {method: torch.from_numpy(frame.to_numpy().copy()) for method, frame in frames.items()}

    return work


def _loaded(folder: Path, dtype: torch.dtype):
    from ifcore import loading, lora

    model, tokenizer = loading.load(f"path:{folder / 'base'}", dtype)
    return lora.with_adapter(model, folder / "adapter"), tokenizer, job.read(folder)
