"""LoRA on chosen layers of a causal language model, its hidden states, and the loss of an example."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakKeyDictionary

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from ifcore.examples import IGNORE, Batch, Example, LossOn, batches, tokenise


def add_lora(
    model: PreTrainedModel,
    rank: int = 4,
    alpha: int = 32,
    dropout: float = 0.1,
    layers: list[int] | None = None,
    seed: int = 0,
    modules: Sequence[str] | str = ("q_proj", "v_proj"),
) -> PeftModel:
    """The model with a fresh LoRA adapter on the query and value projections (of `layers`; all of them by default).

    `modules` names others, as PEFT's `target_modules` does: "all-linear" is every linear map but the head.

    A is drawn from `seed`, B is zero: the adapter starts as the identity. The adapter is float32 or wider, whatever
    the precision of the model.
    """
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )
    with _quiet(), torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)  # A is drawn on the CPU wherever the model is
        return get_peft_model(model, config)


def with_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """The model with the adapter that PEFT's save_pretrained left in `folder`."""
    with _quiet():
        return PeftModel.from_pretrained(model, folder)


@contextmanager
def adapted(model: PreTrainedModel, folder: Path) -> Iterator[PeftModel]:
    """`with adapted(…) as peft`: the model wearing the adapter in `folder`; as it was before, afterwards."""
    peft = with_adapter(model, folder)
    try:
        yield peft
    finally:
        peft.unload()


@contextmanager
def merged(model: PeftModel) -> Iterator[None]:
    """`with merged(model)`: its adapter is in the weights, which spares its products; afterwards all is as it was.

    For decoding, where a token costs as many calls as a batch of sequences does.
    """
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    kept = [layer.get_base_layer().weight.detach().clone() for layer in layers]
    model.merge_adapter()
    try:
        yield
    finally:
        model.unmerge_adapter()
        for layer, weight in zip(layers, kept, strict=True):
            layer.get_base_layer().weight.data.copy_(weight)


def example_losses(model: nn.Module, batch: Batch) -> Tensor:
    """Mean token cross-entropy over each example's labelled positions, [b], in float32 or wider.

    Those of its response, unless the batch was made otherwise. The head is evaluated at the positions that predict
    them and nowhere else: with a vocabulary of 49,152 it costs as much as the rest of a small model. A model whose
    logits are more than that (scaled, capped) is asked for its own.
    """
    if not has_linear_head(model):
        return own_losses(model, batch)
    return losses_of(model, hidden_states(model, batch), batch)


def losses_of(model: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    """The same from the last layer's hidden states [b, T, H], for which the head alone is run, where it is linear."""
    if not has_linear_head(model):
        return own_losses(model, batch)
    logits = causal_lm(model).get_output_embeddings()(hidden[:, :-1][_predicting(batch)])
    return _mean_losses(logits, batch)


def own_losses(model: nn.Module, batch: Batch, whole: bool = False) -> Tensor:
    """The same by the model's own logits; by the `whole`, what PEFT wraps around it included."""
    logits = own_logits(uncompiled(model) if whole else causal_lm(model), batch)
    return _mean_losses(logits[:, :-1][_predicting(batch)], batch)


def own_logits(model: nn.Module, batch: Batch) -> Tensor:
    """What the model itself says at all positions, [b, T, V]."""
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits


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
            own = lm(input_ids=tokens, use_cache=False).logits
            _LINEAR[lm] = head is not None and states is not None and _same(head(states), own)
    return _LINEAR[lm]


_LINEAR: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


_SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling")  # in half precision a cap may not show


def _same(found: Tensor, expected: Tensor) -> bool:
    """But for the last bits: in float32 a logit of 1 that is capped at 30 is lower by a 2,700th."""
    error, size = (found - expected).abs().max(), expected.abs().max()
    return bool(error <= 4 * torch.finfo(expected.dtype).eps * size)


def _predicting(batch: Batch) -> Tensor:
    """The positions whose next token's loss counts, [b, T − 1]."""
    return batch.labels[:, 1:] != IGNORE


def _mean_losses(logits: Tensor, batch: Batch) -> Tensor:
    predicting = _predicting(batch)
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    token_loss = nn.functional.cross_entropy(logits, batch.labels[:, 1:][predicting], reduction="none")
    total = token_loss.new_zeros(len(predicting)).index_add(0, predicting.nonzero()[:, 0], token_loss)
    return total / predicting.sum(1)


@torch.no_grad()
def losses(model: nn.Module, batches: Sequence[Batch]) -> Tensor:
    """`example_losses` of all examples of some batches, in evaluation mode: [N] on the CPU, by their rows."""
    with evaluating(model):
        found = torch.cat([example_losses(model, batch.to(device_of(model))) for batch in batches])
    return found.cpu()[torch.cat([batch.rows for batch in batches]).argsort()]


def hidden_states(model: nn.Module, batch: Batch) -> Tensor:
    """Last layer's hidden states after the final norm, [b, T, H]: what the head is applied to.

    Raises ValueError for an adapter that is a prompt, which the model's own layers know nothing of.
    """
    model = uncompiled(model)
    if isinstance(model, PeftModel) and model.active_peft_config.is_prompt_learning:
        kind = model.active_peft_config.peft_type.value
        raise ValueError(f"model: its adapter ({kind}) is a prompt; choose one that changes weights, as LoRA")
    decoder = causal_lm(model).base_model
    return decoder(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).last_hidden_state


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


def causal_lm(model: nn.Module) -> PreTrainedModel:
    """The transformers model inside a PEFT wrapper (with the adapter's layers in it), or the model itself."""
    model = uncompiled(model)
    return uncompiled(model.get_base_model()) if isinstance(model, PeftModel) else model


def uncompiled(model: nn.Module) -> nn.Module:
    """The module that torch.compile wrapped, which shares its parameters and has hooks; the model itself otherwise."""
    return getattr(model, "_orig_mod", model)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's parameters live."""
    return next(model.parameters()).device


def example_batches(
    model: nn.Module,
    tokenizer,
    examples: list[Example],
    batch_size: int = 8,
    loss_on: LossOn = "response",
    length: int | None = None,
) -> list[Batch]:
    """Batches of `examples` for this model: tokenised, checked against its context, grouped by length.

    `loss_on` and `length` as for `examples.batches`.
    """
    context = getattr(causal_lm(model).config, "max_position_embeddings", None)
    pad = tokenizer.pad_token_id or 0  # any will do: what is padded is masked
    return batches(tokenise(tokenizer, examples, context), batch_size, pad, loss_on, length)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that peft sets off by reading a property that transformers renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield
