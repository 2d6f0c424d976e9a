"""The loss of an example, the hidden states behind it, and the causal language model inside its wrappers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from ifcore.batches import Batch
from ifcore.examples import IGNORE


def example_losses(model: nn.Module, batch: Batch) -> Tensor:
    """Mean token cross-entropy over each example's labelled positions, times its weight, [b], in float32 or wider.

    The head is evaluated at the positions that predict
    them and nowhere else: with a vocabulary of 49,152 it costs as much as the rest of a small model. A model whose
    logits are more than that (scaled, capped) is asked for its own.
    """
    return _mean_losses(label_logits(model, batch), batch)


def label_logits(model: nn.Module, batch: Batch) -> Tensor:
    """The logits at the positions whose next token's loss counts, [n, V], row by row."""
    if not has_linear_head(model):
        return own_logits(causal_lm(model), batch)[:, :-1][predicting(batch)]
    return causal_lm(model).get_output_embeddings()(hidden_states(model, batch)[:, :-1][predicting(batch)])


def own_losses(model: nn.Module, batch: Batch, whole: bool = False) -> Tensor:
    """The same by the model's own logits; by the `whole`, what PEFT wraps around it included."""
    logits = own_logits(uncompiled(model) if whole else causal_lm(model), batch)
    return _mean_losses(logits[:, :-1][predicting(batch)], batch)


def own_logits(model: nn.Module, batch: Batch) -> Tensor:
    """What the model itself says at all positions, [b, T, V]."""
    return model(**batch.inputs(), use_cache=False).logits


@torch.no_grad()
def has_linear_head(model: nn.Module) -> bool:
    """Whether the model's logits are its output embeddings at the last hidden states and nothing more, by trying."""
    lm = causal_lm(model)
    if any(getattr(lm.config, name, None) not in (None, 1.0) for name in _SCALED):
        return False
    if lm not in _LINEAR:
        tokens = torch.arange(1, 5, device=device_of(lm))[None]
        head = lm.get_output_embeddings()
        with evaluating(lm):
            states = getattr(lm.base_model(input_ids=tokens, use_cache=False), "last_hidden_state", None)
            logits = lm(input_ids=tokens, use_cache=False).logits
            _LINEAR[lm] = head is not None and states is not None and _same(head(states), logits)
    return _LINEAR[lm]


_LINEAR: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # in half precision a cap may not show


def _same(logits: Tensor, expected: Tensor) -> bool:
    """But for the last bits: in float32 a logit of 1 that is capped at 30 is lower by a 2,700th."""
    error, size = (logits - expected).abs().max(), expected.abs().max()
    return bool(error <= 4 * torch.finfo(expected.dtype).eps * size)


def predicting(batch: Batch) -> Tensor:
    """The positions whose next token's loss counts, [b, T − 1]."""
    return batch.labels[:, 1:] != IGNORE


def _mean_losses(logits: Tensor, batch: Batch) -> Tensor:
    is_counted = predicting(batch)
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    token_loss = nn.functional.cross_entropy(logits, batch.labels[:, 1:][is_counted], reduction="none")
    total = token_loss.new_zeros(len(is_counted)).index_add(0, is_counted.nonzero()[:, 0], token_loss)
    return total / is_counted.sum(1) * batch.weights.to(total)


@torch.no_grad()
def evaluate_losses(model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """`example_losses` of all examples of some batches, in evaluation mode: [N] on the CPU, by their rows."""
    with evaluating(model):
        losses = torch.cat([example_losses(model, batch.to(device_of(model))) for batch in batches])
    return losses.cpu()[torch.cat([batch.rows for batch in batches]).argsort()]


def hidden_states(model: nn.Module, batch: Batch) -> Tensor:
    """Last layer's hidden states after the final norm, [b, T, H]: what the head is applied to.

    Raises ValueError for an adapter that is a prompt, which the model's own layers know nothing of.
    """
    model = uncompiled(model)
    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        kind = model.active_peft_config.peft_type.value
        raise ValueError(f"model: its adapter ({kind}) is a prompt; choose one that changes weights, as LoRA")
    decoder = causal_lm(model).base_model
    return decoder(**batch.inputs(), use_cache=False).last_hidden_state


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, without dropout; every module as it was afterwards."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was


def causal_lm(model: Any) -> PreTrainedModel:
    """The transformers model inside a PEFT wrapper (with the adapter's layers in it), or the model itself."""
    model = uncompiled(model)
    return uncompiled(model.get_base_model()) if isinstance(model, PeftModel) else model


def uncompiled(model: nn.Module) -> Any:
    """The module that torch.compile wrapped, which shares its parameters and has hooks; the model itself otherwise."""
    return getattr(model, "_orig_mod", model)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters live."""
    return next(model.parameters()).device
