"""The model that a run fine-tunes, loaded once: on which device, in which precision."""

from __future__ import annotations

import functools
from typing import Any

import torch
from transformers import PreTrainedModel

from ifcore import weights


def model(source: str, precision: str, seed: int) -> tuple[PreTrainedModel, Any]:
    """The model and tokenizer that `source` names, shared by all who ask: whoever puts an adapter on takes it off."""
    return _loaded(source, weights.identity(source), precision, seed)


def resolved_precision(precision: str) -> str:
    """`auto` is bfloat16 on a GPU or a CPU with bfloat16 instructions, where it is the faster, else float32."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def device() -> str:
    """The device that a run uses: a GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.cache
def _loaded(source: str, identity: str, precision: str, seed: int) -> tuple[PreTrainedModel, Any]:
    return weights.load(source, getattr(torch, precision), device(), seed)
