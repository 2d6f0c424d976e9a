"""How fast this machine runs a profile's model: five seconds with two layers of its shapes, no download."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import psutil
import torch
from peft import PeftModel
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from ifcore import lora
from ifcore.batches import collate
from ifcore.examples import with_prompt
from ifcore.losses import causal_lm, hidden_states
from ifcore.onednn import through_onednn
from study.config import Run
from study.pipeline import base_model
from study.pipeline.architectures import Architecture, architecture

BUDGET = 2.5  # seconds for the layers, and for the head
REPEATS = 7
LAYERS = 2
PROMPT, RESPONSE = 24, 20  # tokens: the mean of the study's data
RECORDED = 120.0  # tokens a second of the default model in float32 on a core with AVX2
PARAMETERS, FASTEST = 134_515_008, 20  # of that model; a smaller one is at most so many times as fast


def cores_in_use() -> float:
    """How many cores other processes keep busy, sampled over half a second."""
    process, start = psutil.Process(), perf_counter()
    before = sum(process.cpu_times()[:2])
    total = psutil.cpu_percent(0.5) / 100 * (psutil.cpu_count() or 1)
    return max(0.0, total - (sum(process.cpu_times()[:2]) - before) / (perf_counter() - start))


def recorded_speed(run: Run) -> float:
    """Tokens a second, forward and backward, as recorded for the default model and scaled to the profile's."""
    shape = architecture(run.located(run.profile.model))
    return RECORDED * (min(FASTEST, PARAMETERS / shape.weights) if shape else 1.0)


def measured_speed(run: Run, clock: Callable[[], float] = perf_counter) -> float | None:
    """The same in the run's precision, measured here and now as a job has it: on one core, or on the graphics card.

    None where the model's sizes are not known. It takes longer than five seconds only where one row does.
    """
    profile, shape = run.profile, architecture(run.located(run.profile.model))
    if shape is None:
        return None
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plain = _model(shape, getattr(torch, base_model.resolved_precision(profile.precision)), base_model.device())
        model = lora.add_lora(plain, profile.lora_rank, profile.lora_alpha, profile.lora_dropout).train()
        model.enable_input_require_grads()  # all layers but the real model's first are differentiated by their input
        most = min(profile.batch_size, profile.micro_batch or profile.batch_size)
        layers, head = (_seconds(partial(step, model), most, clock) for step in (_read, _predict))
    finally:
        torch.set_num_threads(threads)
    return (PROMPT + RESPONSE) / (shape.layers / LAYERS * layers + head)


def _seconds(step: Callable[[int], None], most: int, clock: Callable[[], float]) -> float:
    """Seconds a row of `step`, the median of a few repeats; from one on, rows double while the budget allows."""
    end, rows, times = clock() + BUDGET, 1, list[float]()
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


def _read(model: PeftModel, rows: int) -> None:
    """The layers, over whole sequences."""
    batch = collate([with_prompt((0,) * PROMPT, (0,) * RESPONSE)] * rows, range(rows)).to(model.device)
    hidden_states(model, batch).sum().backward()


def _predict(model: PeftModel, rows: int) -> None:
    """The head and the loss, over the responses."""
    head = causal_lm(model).lm_head
    states = torch.zeros(rows * RESPONSE, head.in_features, dtype=head.weight.dtype, device=model.device)
    logits = head(states.requires_grad_()).float()
    nn.functional.cross_entropy(logits, torch.zeros(len(states), dtype=torch.long, device=model.device)).backward()
