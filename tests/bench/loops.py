"""Methods as their formulas are written: loops over examples and blocks at batch size 1, which the engine replaces."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tests.bench import job
from tests.bench.contenders import Work

Gradient = dict[str, Tensor]  # parameter -> [P_b], of one example


def first_order(folder: Path, dtype: torch.dtype) -> Work:
    """GradSim, DataInf and LiSSA, a Python loop over training example, validation example and block for each."""
    model, rows = job.load(folder, dtype), job.read(folder)

    def work():
        return looped(*([_gradient(model, row) for row in rows[part]] for part in ("train", "val")))

    return work


def rept(folder: Path, dtype: torch.dtype) -> Work:
    """RepT, all hidden states of one example after another."""
    model, rows = job.load(folder, dtype), job.read(folder)

    def states(row: dict) -> tuple[list[Tensor], Tensor, int]:
        batch = job.pad([row])
        output = model(input_ids=batch["input_ids"], output_hidden_states=True)
        return output.hidden_states, output.logits, row["labels"].count(job.IGNORE) - 1

    def joined(row: dict, layer: int) -> Tensor:
        hidden, logits, end = states(row)
        loss = job.example_losses(logits, job.pad([row])["labels"]).sum()
        (gradient,) = torch.autograd.grad(loss, hidden[layer])
        return torch.cat([hidden[layer][0, end].detach(), gradient[0, end]]).float()

    def work():
        alike: list[list[Tensor]] = []
        with torch.no_grad():
            for row in rows["train"]:
                hidden, _, end = states(row)
                at_end = [state[0, end].double() for state in hidden[1:-1]]
                pairs = zip(at_end, at_end[1:], strict=False)
                alike.append([torch.cosine_similarity(a, b, dim=0) for a, b in pairs])
        layer = int(torch.tensor(alike).mean(0).argmin()) + 2
        train, val = (torch.stack([joined(row, layer) for row in rows[part]]) for part in ("train", "val"))
        return {"rept": torch.cosine_similarity(val[:, None], train[None], dim=2)}

    return work


def source(folder: Path, dtype: torch.dtype) -> Work:
    """SOURCE, a segment for each checkpoint after the first, with the eigenvectors of each block's Hessian."""
    from peft import set_peft_model_state_dict
    from safetensors.torch import load_file

    model, rows = job.load(folder, dtype), job.read(folder)
    checkpoints = [Path(checkpoint) for checkpoint in rows["checkpoints"][1:]]

    def gradients(checkpoint: Path, part: str) -> list[Gradient]:
        set_peft_model_state_dict(model, load_file(checkpoint / "adapter_model.safetensors"))
        return [_gradient(model, row) for row in rows[part]]

    def work():
        train, val = [gradients(checkpoint, "train") for checkpoint in checkpoints], gradients(checkpoints[-1], "val")
        moments = [load_file(checkpoint / "second_moments.safetensors") for checkpoint in checkpoints]
        scores = torch.zeros(len(val), len(train[0]), dtype=torch.float64)
        for block in val[0]:
            roots = torch.stack([moment[block.removesuffix(".weight")].sqrt() for moment in moments])
            scale = (1 / (roots.mean(0) + 1e-8)).sqrt().double()
            segments = [torch.stack([scale * gradient[block] for gradient in segment]) for segment in train]
            for m, gradient in enumerate(val):
                scores[m] += sourced(segments, scale * gradient[block], rows["rates"])
        return {"source": scores}

    return work


def sourced(segments: list[Tensor], v: Tensor, rates: list[float]) -> Tensor:
    """SOURCE of one block, [N], from v [P_b] and the training gradients [N, P_b] of one segment after another."""
    scores: Tensor = torch.zeros(())
    for G, rate in zip(reversed(segments), reversed(rates), strict=True):
        _, S, axes = torch.linalg.svd(G, full_matrices=False)
        sigma = S.square() / len(G)  # of H = GᵀG/N; 0 in all other directions
        along = axes @ v
        scores = scores + G @ (axes.T @ (-torch.expm1(-rate * sigma) / sigma * along))
        v = v + axes.T @ (torch.expm1(-rate * sigma) * along)
    return scores


def looped(train: list[Gradient], val: list[Gradient], damping: float = 0.1, iterations: int = 10) -> dict[str, Tensor]:
    """GradSim, DataInf and LiSSA [M, N] from lists of gradients."""
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


def _gradient(model, row: dict) -> Gradient:
    parameters = {name: parameter for name, parameter in model.named_parameters() if "lora_" in name}
    batch = job.pad([row])
    loss = job.example_losses(model(input_ids=batch["input_ids"]).logits, batch["labels"]).sum()
    grads = torch.autograd.grad(loss, list(parameters.values()))
    return {name: grad.float().flatten() for name, grad in zip(parameters, grads, strict=True)}


def _largest(G: list[Tensor]) -> float:
    """The largest eigenvalue of Σ g gᵀ."""
    rows = torch.stack(G).double()
    return float(torch.linalg.eigvalsh(rows @ rows.T)[-1])
