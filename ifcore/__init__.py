"""Influence of training examples on the behaviour of LoRA fine-tuned language models.

The names below are what attributing a fine-tune of one's own takes; each is loaded when it is first asked for.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_HOME = {
    "attribute": "attribution",
    "validate": "validation",
    "Example": "examples",
    "load": "loading",
    "load_adapter": "adapters",
    "add_lora": "lora",
    "example_batches": "batches",
    "Settings": "training",
    "finetune": "training",
    "example_gradients": "gradients",
    "Gram": "gram",
    "gradsim": "influence",
    "cosine": "influence",
    "tracin": "influence",
    "datainf": "influence",
    "lissa": "influence",
    "exact": "influence",
    "relatif": "influence",
    "repsim": "representations",
    "accuracy": "metrics",
    "coverage": "metrics",
}
__all__ = list(_HOME)


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"ifcore.{_HOME[name]}"), name)
    raise AttributeError(f"ifcore: it has no {name!r}; choose from {', '.join(_HOME)}, or one of its modules")
