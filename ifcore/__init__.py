"""Influence of training examples on the behaviour of LoRA fine-tuned language models.

The engine (this folder) knows tensors, models and examples; `ifcore.study` is one paper built on it. What a user needs is
in the modules named here, which are loaded when they are first used:

    from ifcore import weights, models, gradients, gram, influence, representations, metrics
"""

from importlib import import_module
from types import ModuleType

__all__ = [
    "adapters", "examples", "gradients", "gram", "influence", "linear", "metrics", "models", "representations",
    "training", "two_layer", "weights",
]  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return import_module(f"ifcore.{name}")
    raise AttributeError(f"ifcore has no {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__
