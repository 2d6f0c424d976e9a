"""Measure how fast this machine runs a profile's model: five seconds with two layers of its shapes, no download."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import psutil
import torch
from peft import PeftModel
from torch import nn
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from ifcore import lora
from ifcore.batches import collate
from ifcore.examples import Tokens
from ifcore.losses import causal_lm, hidden_states
from ifcore.onednn import through_onednn
from study.config import Run
from study.estimate.rates import LARGE_BATCH, SMALL_BATCH, Rates
from study.pipeline import base_model
from study.pipeline.architectures import Architecture, architecture

BUDGET = 4.5  # seconds of five, as a step can't be cut short
REPEATS = 7
LAYERS = 2
PROMPT, RESPONSE = 24, 20  # tokens: the mean of the study's data
SAMPLE = 0.5  # seconds


def cores_in_use() -> float:
    """How many cores other processes keep busy, sampled over half a second."""
    process, start = psutil.Process(), perf_counter()
    before = sum(process.cpu_times()[:2])
    total = psutil.cpu_percent(SAMPLE) / 100 * (psutil.cpu_count() or 1)
    return max(0.0, total - (sum(process.cpu_times()[:2]) - before) / (perf_counter() - start))


def rates(run: Run, clock: Callable[[], float] = perf_counter) -> Rates | None:
    """Tokens a second of the profile's model, here and in the run's precision; None where its sizes are not known.

    The layers' time is scaled to all layers, the head's is not. It takes longer than five seconds only where a single
    row of each step does.
    """
    end, profile = clock() + BUDGET, run.profile
    shape = architecture(run.located(profile.model) or "")
    if shape is None:
        return None
    plain = _model(shape, getattr(torch, base_model.resolved_precision(profile.precision)), base_model.device())
    model = lora.add_lora(plain, profile.lora_rank, profile.lora_alpha, profile.lora_dropout).train()
    model.enable_input_require_grads()  # all layers but the real model's first are differentiated by their input
    batch = min(profile.batch_size, profile.micro_batch or profile.batch_size)
    # Layers and head in turn, with the rows to start from and at most: LARGE_BATCH tokens are about a sequence.
    steps: list[tuple[Callable[[int], None], int, int]] = []
    for rows in (SMALL_BATCH, LARGE_BATCH):
        steps += [(partial(_decode, model), rows, rows), (partial(_predict, model, 1, False), rows, rows)]
    for training in (False, True):
        steps += [(partial(_read, model, training), 1, batch), (partial(_predict, model, RESPONSE, training), 1, batch)]
    times = []
    for remaining, (step, rows, most) in zip(range(len(steps), 0, -1), steps, strict=True):
        times.append(_seconds(step, rows, most, (end - clock()) / remaining, clock))
    pairs = zip(times[::2], times[1::2], strict=True)
    small, large, forward, training_rows = (1 / (shape.layers / LAYERS * layers + head) for layers, head in pairs)
    return Rates((PROMPT + RESPONSE) * training_rows, (PROMPT + RESPONSE) * forward, small, large)


def _seconds(step: Callable[[int], None], rows: int, most: int, budget: float, clock: Callable[[], float]) -> float:
    """Seconds a row of `step`, the median of a few repeats; from `rows` on, rows double while the budget allows."""
    end, times = clock() + budget, []
    while True:
        start = clock()
        step(rows)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(clock() - start)
        doubled = min(2 * rows, most)
        if len(times) == REPEATS or clock() + times[-1] * doubled / rows > end:
            return median(times) / rows
        if doubled > rows:
            rows, times = doubled, []


def _model(shape: Architecture, dtype: torch.dtype, device: str) -> LlamaForCausalLM:
    """A model of few layers as `loading.load` leaves it; its weights are one constant, which takes as long as any."""
    sizes: dict[str, Any] = {"vocab_size": shape.vocabulary, "hidden_size": shape.hidden, "num_hidden_layers": LAYERS}
    sizes |= {"num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads}
    sizes |= {"intermediate_size": shape.intermediate, "tie_word_embeddings": shape.tied}
    sizes |= {"attn_implementation": "eager" if device == "cpu" else None}
    config = LlamaConfig(**sizes)
    with torch.device("meta"):
        model = nn.Module.to(LlamaForCausalLM(config), dtype)
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
        states = hidden_states(model, batch)
    if training:
        states.sum().backward()


def _decode(model: PeftModel, rows: int) -> None:
    """The layers, for one more token of each sequence."""
    decoder, cache = causal_lm(model).model, DynamicCache()
    shape = (rows, decoder.config.num_key_value_heads, PROMPT + RESPONSE, decoder.layers[0].self_attn.head_dim)
    for layer in range(LAYERS):
        past = torch.zeros(shape, dtype=decoder.dtype, device=model.device)
        cache.update(past, past, layer)
    with torch.no_grad(), model.disable_adapter():
        decoder(torch.zeros(rows, 1, dtype=torch.long, device=model.device), past_key_values=cache, use_cache=True)


def _predict(model: PeftModel, tokens: int, training: bool, rows: int) -> None:
    """The head and the loss, for `tokens` tokens of each sequence."""
    head = causal_lm(model).lm_head
    states = torch.zeros(rows * tokens, head.in_features, dtype=head.weight.dtype, device=model.device)
    with torch.set_grad_enabled(training):
        logits = head(states.requires_grad_(training)).float()
        loss = nn.functional.cross_entropy(logits, torch.zeros(len(states), dtype=torch.long, device=model.device))
    if training:
        loss.backward()
