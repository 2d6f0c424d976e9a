"""LoRA adapters on disk, and how far they are apart: in their parameters, and in what the model says with them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ifcore.examples import Batch
from ifcore.lora import causal_lm, has_linear_head, hidden_states, own_logits

BETA2 = 0.999  # AdamW's default, as training uses it
MOMENTS = "second_moments.safetensors"


class Update(NamedTuple):
    """What LoRA adds to one weight matrix: scale · B A, with A [r, in], B [out, r] in float64 and scale = α/r."""

    A: Tensor
    B: Tensor
    scale: float


def write(model: PeftModel, folder: Path, adam: Mapping[str, Tensor]) -> None:
    """Leave the active adapter in a new `folder` in PEFT's own format, and beside it how large its gradients were.

    `adam` holds AdamW's state of the trained parameters [P], one after another: second_moments.safetensors is its
    v̂ = exp_avg_sq / (1 − β₂ᵗ), block -> [P_b] float32, named as the gradients are. There is none before the first step.
    """
    model.active_peft_config.save_pretrained(folder)
    adapter = get_peft_model_state_dict(model, adapter_name=model.active_adapter, save_embedding_layers=False)
    save_file(adapter, folder / "adapter_model.safetensors", {"format": "pt"})
    if "step" in adam:
        v = adam["exp_avg_sq"] / (1 - BETA2 ** adam["step"].item())
        sizes = {name.removesuffix(".weight"): p.numel() for name, p in model.named_parameters() if p.requires_grad}
        save_file(dict(zip(sizes, v.float().split(list(sizes.values())), strict=True)), folder / MOMENTS)


def preconditioner(checkpoint: Path) -> dict[str, Tensor]:
    """Block -> 1/(√v̂ + 10⁻⁸) [P_b] float32, the weights by which AdamW scaled its last step, from a folder of `write`.

    What `gram.Gram.from_gradients` takes as weights. Raises ValueError for an adapter without second moments.
    """
    if not (file := checkpoint / MOMENTS).is_file():
        raise ValueError(f"checkpoint: {checkpoint} has no {MOMENTS}; take an epoch of training.finetune from 1 on")
    return {block: 1 / (v.sqrt() + 1e-8) for block, v in load_file(file).items()}


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
    own = (".base_layer.weight", ".base_layer.bias")  # of a head, which PEFT saves with its LoRA
    known = (".lora_A.weight", ".lora_B.weight", *own)
    if odd := sorted(name for name in tensors if not name.endswith(known)):
        raise ValueError(f"{folder}: it trains {odd[0]}; only plain LoRA of one rank is read here")
    names = sorted(name.removesuffix(".lora_A.weight") for name in tensors if name.endswith(".lora_A.weight"))
    scale = settings["lora_alpha"] / settings["r"]
    return {name: Update(*(tensors[f"{name}.lora_{part}.weight"].double() for part in "AB"), scale) for name in names}


def distances(first: Mapping[str, Update], second: Mapping[str, Update], scaled: bool = True) -> Tensor:
    """The Frobenius norm of the difference of the two updates of each module, [modules].

    A module that only one of them has counts as no update in the other: `{}` is the model without an adapter. Without
    `scaled`, that of B A alone, as the paper's released code has it. Never forms a full matrix:
    ‖B A‖² = Σ (BᵀB) ⊙ (A Aᵀ), of the A and B stacked.
    """
    found = []
    for module in sorted(first.keys() | second.keys()):
        signed = [(sign, each[module]) for sign, each in ((1, first), (-1, second)) if module in each]
        A = torch.cat([update.A for _, update in signed])
        B = torch.cat([sign * (update.scale if scaled else 1) * update.B for sign, update in signed], dim=1)
        found.append(((B.T @ B) * (A @ A.T)).sum().clamp(min=0).sqrt())
    return torch.stack(found)


@torch.no_grad()
def next_token_log_probs(model: nn.Module, batch: Batch) -> list[Tensor]:
    """The log-probabilities of the next token at every prompt position, [prompt tokens, V] for each example.

    The last row is the distribution of the response's first token.
    """
    if has_linear_head(model):
        of, head = hidden_states(model, batch), causal_lm(model).get_output_embeddings()
    else:
        of, head = own_logits(causal_lm(model), batch), nn.Identity()
    return [head(each[own]).double().log_softmax(-1) for each, own in zip(of, batch.in_prompt, strict=True)]


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p ‖ q) = Σ_v p_v (log p_v − log q_v), in nats, of log-probabilities [..., V]; [...]."""
    return torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
