"""How fast this machine is at a profile's model: five seconds with two layers of its shapes, and no download."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import torch
from peft import PeftModel
from torch import nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from ifcore import lora
from ifcore.examples import Tokens, collate
from ifcore.onednn import through_onednn
from study.config import Run
from study.estimate.rates import FEW, MANY, Rates
from study.pipeline import base_model
from study.pipeline.architectures import Architecture, architecture

BUDGET = 4.5  # seconds, so that five are enough though a step can't be cut short
REPEATS = 7
LAYERS = 2
PROMPT, RESPONSE = 24, 20  # tokens: the mean of the study's data


def rates(run: Run, clock: Callable[[], float] = perf_counter) -> Rates | None:
    """Tokens a second of the profile's model, here and in the run's precision; None where its sizes are not known.

    The layers' time is multiplied, the head's is not. On a machine so slow that a single row of each takes longer than
    five seconds, so does this.
    """
    end, shape, profile = clock() + BUDGET, architecture(run.located(run.profile.model)), run.profile
    if shape is None:
        return None
    model = _model(shape, getattr(torch, base_model.resolved_precision(profile.precision)), base_model.device())
    model = lora.add_lora(model, profile.lora_rank, profile.lora_alpha, profile.lora_dropout).train()
    model.enable_input_require_grads()  # all layers but the real model's first are differentiated by their input
    batch = min(profile.batch_size, profile.micro_batch or profile.batch_size)
    # Layers and head in turn, with as many rows as are tried first and at most: MANY tokens are about a sequence.
    steps: list[tuple[Callable[[int], None], int, int]] = []
    for rows in (FEW, MANY):
        steps += [(partial(_decode, model), rows, rows), (partial(_predict, model, 1, False), rows, rows)]
    for training in (False, True):
        steps += [(partial(_read, model, training), 1, batch), (partial(_predict, model, RESPONSE, training), 1, batch)]
    taken = []
    for left, (step, rows, most) in zip(range(len(steps), 0, -1), steps, strict=True):
        taken.append(_seconds(step, rows, most, (end - clock()) / left, clock))
    pairs = zip(taken[::2], taken[1::2], strict=True)
    rows_a_second = [1 / (shape.layers / LAYERS * layers + head) for layers, head in pairs]
    few, many, forward, training = rows_a_second
    return Rates((PROMPT + RESPONSE) * training, (PROMPT + RESPONSE) * forward, few, many)


def _seconds(step: Callable[[int], None], rows: int, most: int, budget: float, clock: Callable[[], float]) -> float:
    """What `step` takes a row, with `rows` or more of them as the budget allows: the median of a few times."""
    end, times = clock() + budget, []
    while True:
        start = clock()
        step(rows)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(clock() - start)
        grown = min(2 * rows, most)
        if len(times) == REPEATS or clock() + times[-1] * grown / rows > end:
            return median(times) / rows
        if grown > rows:
            rows, times = grown, []


def _model(shape: Architecture, dtype: torch.dtype, device: str) -> LlamaForCausalLM:
    """As `weights.load` leaves a model, of few layers, its weights one constant: a product of any takes as long."""
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=LAYERS,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        tie_word_embeddings=shape.tied,
        attn_implementation="eager" if device == "cpu" else None,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(dtype)
    model = model.to_empty(device=device).requires_grad_(False)
    model.tie_weights()
    model.model.rotary_emb = LlamaRotaryEmbedding(config).to(device)
    for weight in model.parameters():
        weight.fill_(0.01)
    if device == "cpu":
        through_onednn(model)
    return model


def _read(model: PeftModel, training: bool, rows: int) -> None:
    """The layers, over whole sequences."""
    batch = collate([Tokens((0,) * PROMPT, (0,) * RESPONSE)] * rows, range(rows)).to(model.device)
    with torch.set_grad_enabled(training):
        states = lora.hidden_states(model, batch)
    if training:
        states.sum().backward()


def _decode(model: PeftModel, rows: int) -> None:
    """The layers, for one more token of each sequence."""
    decoder, cache = lora.causal_lm(model).model, DynamicCache()
    shape = (rows, decoder.config.num_key_value_heads, PROMPT + RESPONSE, decoder.layers[0].self_attn.head_dim)
    for layer in range(LAYERS):
        past = torch.zeros(shape, dtype=decoder.dtype, device=model.device)
        cache.update(past, past, layer)
    with torch.no_grad(), model.disable_adapter():
        decoder(torch.zeros(rows, 1, dtype=torch.long, device=model.device), past_key_values=cache, use_cache=True)


def _predict(model: PeftModel, tokens: int, training: bool, rows: int) -> None:
    """The head and the loss, for so many tokens of each sequence."""
    head = lora.causal_lm(model).lm_head
    states = torch.zeros(rows * tokens, head.in_features, dtype=head.weight.dtype, device=model.device)
    with torch.set_grad_enabled(training):
        logits = head(states.requires_grad_(training)).float()
        loss = nn.functional.cross_entropy(logits, torch.zeros(len(states), dtype=torch.long, device=model.device))
    if training:
        loss.backward()
