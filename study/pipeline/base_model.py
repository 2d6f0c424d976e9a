"""The model that a run fine-tunes, loaded once: on which device, in which precision."""

import functools
import importlib.metadata
import os
from pathlib import Path
from typing import Any

import torch

from ifcore import lora
from study.pipeline import model_sources

PRECISIONS = ("float32", "bfloat16")
VERSIONS = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy")


def shared_model(
    source: str, precision: str, adapter: Path | None = None, digest: str | None = None
) -> tuple[Any, Any]:
    """The model and tokenizer that `source` names, loaded once: whoever puts an adapter on takes it off. `adapter`,
    known by its `digest`, is merged into the weights."""
    return _load(source, model_sources.identity(source), precision, adapter, digest)


def resolved_precision(precision: str) -> str:
    """`auto` is what STUDY_PRECISION says; without it native_precision.

    Raises ValueError, in one line, for a STUDY_PRECISION that there is not, or that the profile speaks against.
    """
    wanted = os.environ.get("STUDY_PRECISION") or precision
    if wanted not in ("auto", *PRECISIONS):
        raise ValueError(f"PRECISION={wanted}: choose from {', '.join(PRECISIONS)}")
    if precision not in ("auto", wanted):
        raise ValueError(f"PRECISION={wanted}: the profile says {precision}; change it there")
    return native_precision() if wanted == "auto" else wanted


def native_precision() -> str:
    """bfloat16 on a GPU or a CPU with bfloat16 instructions, where it is the faster, else float32."""
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def device() -> str:
    """The device that a run uses: a GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def environment(source: str, precision: str) -> dict[str, Any]:
    """What every fine-tune of the model that `source` names depends on, for its key."""
    versions = {name: importlib.metadata.version(name) for name in VERSIONS}
    model = model_sources.identity(source)
    return {"model": model, "precision": precision, "device": device(), "versions": versions}


@functools.cache
def _load(source: str, identity: str, precision: str, adapter: Path | None, digest: str | None) -> tuple[Any, Any]:
    model, tokenizer = model_sources.load(source, getattr(torch, precision), device())
    if adapter is not None:
        model = lora.with_adapter(model, adapter).merge_and_unload()
    return model, tokenizer
