"""A fine-tune from the folder that PEFT left: the base model, the adapter on it, the tokenizer."""

import os
import re
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from ifcore import loading, lora
from ifcore.chat_templates import read_template
from ifcore.saved_adapter import read_config, saved_rows

TEMPLATE = "chat_template.jinja"


def load_adapter(
    folder: str | Path, source: str | None = None, dtype: torch.dtype = torch.float32, device: str | None = None
) -> tuple[PeftModel, Any]:
    """The model with the adapter in `folder`, and the tokenizer: the adapter's own, where it has one.

    Parameters
    ----------
    folder : str or Path
        What PEFT's save_pretrained left, or a trainer's checkpoint.
    source : str, optional
        The base model, as `loading.load` takes it; by default the one that the adapter names.
    dtype : torch.dtype
        Of the base model.
    device : str, optional
        By default the graphics card of this process, if there is one.

    Raises
    ------
    ValueError
        In one line, for what can't be loaded as it was saved.
    """
    folder = Path(folder)
    read_config(folder)
    source = source or base_of(folder)
    tokenizer_folder = folder if (folder / "tokenizer_config.json").is_file() else None
    model, tokenizer = loading.load(source, dtype, device or _device(), tokenizer_in=tokenizer_folder)
    if (folder / TEMPLATE).is_file():  # by itself, or beside a tokenizer
        tokenizer.chat_template = read_template(folder / TEMPLATE)
    embeddings = model.get_input_embeddings()
    name = next(name for name, module in model.named_modules() if module is embeddings)
    rows = saved_rows(folder, name)
    if rows is not None and rows != embeddings.weight.shape[0]:  # tokens were added, and all rows saved
        model.resize_token_embeddings(rows, mean_resizing=False)
        model.requires_grad_(False)
    return lora.with_adapter(model, folder), tokenizer


def _device() -> str:
    cards = torch.cuda.device_count()
    return f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % cards}" if cards else "cpu"


def base_of(folder: Path) -> str:
    """The source of the base model that an adapter names; ValueError where that isn't here, or it names none."""
    name: Any = read_config(folder).base_model_name_or_path
    if not name:
        raise ValueError("it names no base model; give --model")
    if not isinstance(name, str):
        raise ValueError(f"base_model_name_or_path: {name!r} is no model; give --model")
    if Path(name).is_dir():
        return f"path:{name}"
    if re.fullmatch(r"[\w.-]+/[\w.-]+|[\w-]+", name) is None or name.startswith("."):
        raise ValueError(f"its base, {name}, is a folder that is not here; give --model the folder or hub:OWNER/NAME")
    return f"hub:{name}"
