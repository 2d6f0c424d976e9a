"""LoRA adapters on disk, and how far they are apart: in their parameters, and in what the model says with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ifcore.batches import Batch
from ifcore.losses import causal_lm, has_linear_head, hidden_states, own_logits


class Update(NamedTuple):
    """What LoRA adds to one weight matrix: scale · B A, with A [r, in], B [out, r] in float64 and scale = α/r."""

    A: Tensor
    B: Tensor
    scale: float


def updates(folder: Path) -> dict[str, Update]:
    """Module -> its update, from an adapter that PEFT's save_pretrained left in `folder`.

    Raises ValueError for an adapter that is more than plain LoRA of one rank, and for one whose initialisation changed
    the base model's weights (PiSSA and the like), so that B A is not what was added to them.
    """
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if (kind := settings.get("peft_type")) != "LORA":
        raise ValueError(f"{folder}: peft_type is {kind}; only plain LoRA of one rank is read here")
    for name in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern"):
        if settings.get(name):
            raise ValueError(f"{folder}: {name} is set; only plain LoRA of one rank is read here")
    if (start := settings.get("init_lora_weights", True)) not in (True, False, None, "gaussian", "orthogonal", "eva"):
        raise ValueError(
            f"{folder}: init_lora_weights is {start}, which changed the base model; convert it to plain LoRA by "
            "save_pretrained(path_initial_model_for_weight_conversion=…)"
        )
    tensors = load_file(folder / "adapter_model.safetensors")
    if (bias := settings.get("bias", "none")) != "none":
        raise ValueError(f"{folder}: bias is {bias}; only plain LoRA of one rank is read here")
    head = (".base_layer.weight", ".base_layer.bias")  # of a head, which PEFT saves with its LoRA
    known = (".lora_A.weight", ".lora_B.weight", *head)
    if odd := sorted(name for name in tensors if not name.endswith(known)):
        raise ValueError(f"{folder}: it trains {odd[0]}; only plain LoRA of one rank is read here")
    names = sorted(name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight"))
    scale = settings["lora_alpha"] / settings["r"]
    A, B = ({name: tensors[f"{name}.lora_{part}.weight"].double() for name in names} for part in "AB")
    return {name: Update(A[name], B[name], scale) for name in names}


def distances(first: Mapping[str, Update], second: Mapping[str, Update], scaled: bool = True) -> Tensor:
    """The Frobenius norm of the difference of the two updates of each module, [modules].

    A module that only one of them has counts as no update in the other: `{}` is the model without an adapter. Without
    `scaled`, that of B A alone. Never forms a full matrix:
    ‖B A‖² = Σ (BᵀB) ⊙ (A Aᵀ), of the A and B stacked.
    """
    norms = []
    for module in sorted(first.keys() | second.keys()):
        signed = [(sign, side[module]) for sign, side in ((1, first), (-1, second)) if module in side]
        A = torch.cat([update.A for _, update in signed])
        B = torch.cat([sign * (update.scale if scaled else 1) * update.B for sign, update in signed], dim=1)
        norms.append(((B.T @ B) * (A @ A.T)).sum().clamp(min=0).sqrt())
    return torch.stack(norms)


@torch.no_grad()
def next_token_log_probs(model: nn.Module, batch: Batch) -> list[Tensor]:
    """The log-probabilities of the next token at every prompt position, [prompt tokens, V] for each example.

    The last row is the distribution of the response's first token.
    """
    if has_linear_head(model):
        states, head = hidden_states(model, batch), causal_lm(model).get_output_embeddings()
    else:
        states, head = own_logits(causal_lm(model), batch), nn.Identity()
    return [head(row[mask]).double().log_softmax(-1) for row, mask in zip(states, batch.in_prompt, strict=True)]


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_v p_v (log p_v − log q_v), in nats, of log-probabilities [..., V]; [...]."""
    return torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
