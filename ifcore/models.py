"""LoRA on chosen layers of a causal language model, its hidden states, and the loss of an example."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

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
    them and nowhere else: with a vocabulary of 49,152 it costs as much as the rest of a small model.
    """
    return losses_of(model, hidden_states(model, batch), batch)


def losses_of(model: nn.Module, hidden: Tensor, batch: Batch) -> Tensor:
    """The same from the last layer's hidden states [b, T, H], for which the head alone is run."""
    hidden = hidden[:, :-1]
    targets = batch.labels[:, 1:]
    predicting = targets != IGNORE
    logits = causal_lm(model).get_output_embeddings()(hidden[predicting])
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    token_loss = nn.functional.cross_entropy(logits, targets[predicting], reduction="none")
    row = predicting.nonzero()[:, 0]
    total = token_loss.new_zeros(len(targets)).index_add(0, row, token_loss)
    return total / predicting.sum(1)


def hidden_states(model: nn.Module, batch: Batch) -> Tensor:
    """Last layer's hidden states after the final norm, [b, T, H]: what the head is applied to."""
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
    return model.get_base_model() if isinstance(model, PeftModel) else model


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
    return batches(tokenise(tokenizer, examples, context), batch_size, tokenizer.pad_token_id, loss_on, length)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that peft sets off by reading a property that transformers renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield
