"""What is loaded is what was saved: an adapter's folder held against the model that it was loaded into."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from peft import PeftConfig, PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open

from ifcore.sanitize import reason

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
REWRITES_ANEW = r"pissa_niter_.*|corda|loftq|lora_ga"  # starts that change the base, and not twice in the same way


def read_config(folder: Path) -> PeftConfig:
    """The configuration that an adapter was saved with.

    Raises ValueError, in one line, for a folder that holds no adapter, or one whose model can't be had again.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ValueError(f"no {name} in it{_instead(folder)}; give a folder of PEFT's save_pretrained")
    try:
        if "peft_type" not in json.loads((folder / CONFIG).read_text(encoding="utf-8")):
            raise ValueError("no peft_type")
        config = PeftConfig.from_pretrained(str(folder))
    except Exception as error:  # of a file that people edit, and of a PEFT that was newer
        raise ValueError(f"{CONFIG} can't be read ({reason(error)}); save it again, or update peft") from None
    if config.task_type not in (None, "CAUSAL_LM"):
        raise ValueError(f"task_type: {config.task_type}, with a head of its own; give one of a causal language model")
    start = getattr(config, "init_lora_weights", True)
    if isinstance(start, str) and re.fullmatch(REWRITES_ANEW, start):
        raise ValueError(
            f"init_lora_weights: {start!r} takes out of the base what can't be found again; save it with "
            "path_initial_model_for_weight_conversion, as a LoRA of the base as it was"
        )
    return config


def saved_rows(folder: Path, module: str) -> int | None:
    """How many rows the embedding called `module` has in the file, if the adapter saved it whole."""
    with _opened(folder) as saved:
        keys = [key for key in saved.keys() if re.search(rf"\.{re.escape(module)}\.(\w+\.)*weight$", key)]
        shapes = [saved.get_slice(key).get_shape() for key in keys]
    return max((shape[0] for shape in shapes if len(shape) == 2), default=None)


def check_loaded(model: PeftModel, folder: Path) -> None:
    """Raise ValueError unless every tensor of the file is in the model, with its values, and all that the configuration
    promises came from the file; it names the first that isn't."""
    promised = get_peft_model_state_dict(model, adapter_name=model.active_adapter, save_embedding_layers=False)
    with _opened(folder) as saved:
        keys = set(saved.keys())
        if missing := sorted(promised.keys() - keys):
            others = f" and {len(missing) - 1} more" if missing[1:] else ""
            instead = sorted(keys - promised.keys())
            held = f"; it holds {instead[0]} instead" if instead else ""
            raise ValueError(f"{WEIGHTS} has no {missing[0]}{others}, which it should train{held}; {_remedy(instead)}")
        whole: dict[str, Any] = {}
        for key in sorted(keys):
            tensor = saved.get_tensor(key)
            if key not in promised and not whole:
                whole = dict(model.state_dict())
            loaded = promised.get(key, _beside(whole, key, model.active_adapter))
            if loaded is None:
                raise ValueError(f"{WEIGHTS} has {key}, for which the model has no place; {_remedy([key])}")
            if not tensor.isfinite().all():
                raise ValueError(f"{key} holds values that are not finite; take an earlier checkpoint")
            if loaded.shape != tensor.shape or not torch.equal(loaded.cpu(), tensor.to(loaded.dtype)):
                raise ValueError(f"{key} is not in the model as it was saved; save the adapter again")


def check_shapes(folder: Path) -> None:
    """Raise ValueError for a tensor without values, as a sharded save leaves those of other processes."""
    with _opened(folder) as saved:
        for key in saved.keys():
            if 0 in (shape := tuple(saved.get_slice(key).get_shape())):
                problem = f"{key} is empty (shape {shape}), as when a shard is saved for the whole"
                raise ValueError(f"{problem}; gather the weights, then save")


def _instead(folder: Path) -> str:
    """What a folder holds that people take for an adapter."""
    if (folder / WEIGHTS).with_suffix(".bin").is_file():
        return ", but weights that would have to be unpickled"
    checkpoints = sorted((path.parent for path in folder.glob(f"*/{CONFIG}")), key=lambda path: path.stat().st_mtime)
    return f", but in {', '.join(path.name for path in checkpoints)}" if checkpoints else ""


def _opened(folder: Path) -> Any:
    try:
        return safe_open(folder / WEIGHTS, "pt")
    except SafetensorError as error:
        raise ValueError(f"{WEIGHTS} can't be read ({reason(error)}); save it again") from None


def _beside(state: dict[str, Any], key: str, adapter: str) -> Any:
    """A weight that was saved beside what is trained, of the model or of a module that the adapter wraps."""
    names = (
        key,
        re.sub(r"\.(weight|bias)$", r".base_layer.\1", key),
        key.replace(".modules_to_save.", f".modules_to_save.{adapter}."),
    )
    return next((state[name] for name in names if name in state), None)


def _remedy(keys: list[str]) -> str:
    if any("_orig_mod" in key for key in keys):
        return "it was saved from a compiled model: save model._orig_mod, or take _orig_mod. out of the names"
    return "save it again with save_pretrained"
