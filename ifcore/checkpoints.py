"""The checkpoints of a fine-tune: adapters in PEFT's own format, what was learnt between them, and Adam's moments."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from ifcore import io, trainable
from ifcore.saved_adapter import CONFIG, check_loaded, read_config
from ifcore.trainable import trainable_parameters

BETA2 = 0.999  # AdamW's default
MOMENTS, SPENT, TRAINER = "second_moments.safetensors", "learning_rate.json", "trainer_state.json"


@dataclass(frozen=True)
class Checkpoint:
    """The folder of an adapter, and the `spent` learning rate: the sum of that of all steps up to it."""

    folder: Path
    spent: float


def save_checkpoint(model: PeftModel, folder: Path, adam: Mapping[str, Tensor], spent: float = 0.0) -> None:
    """Leave the active adapter in a new `folder` in PEFT's own format, and beside it how large its gradients were.

    `adam` holds AdamW's state of the trained parameters [P], one after another: second_moments.safetensors is its
    v̂ = exp_avg_sq / (1 − β₂ᵗ), block -> [P_b] float32, named as the gradients are. There is none before the first step.
    `spent`: the sum of the learning rates of all steps so far, in learning_rate.json.
    """
    model.active_peft_config.save_pretrained(folder)
    adapter = get_peft_model_state_dict(model, adapter_name=model.active_adapter, save_embedding_layers=False)
    save_file(adapter, folder / "adapter_model.safetensors", {"format": "pt"})
    io.write_json(folder / SPENT, {"spent": spent})
    if "step" in adam:
        v = adam["exp_avg_sq"] / (1 - BETA2 ** adam["step"].item())
        sizes = {name.removesuffix(".weight"): p.numel() for name, p in model.named_parameters() if p.requires_grad}
        save_file(dict(zip(sizes, v.float().split(list(sizes.values())), strict=True)), folder / MOMENTS)


def read_checkpoints(folder: str | Path) -> list[Checkpoint]:
    """The checkpoints in a folder, in the order of their training.

    Those of `training.finetune` (epoch-00, epoch-01, …) or of a Hugging Face trainer (checkpoint-100, …), whose
    trainer_state.json says which learning rates were logged; between two of these it is taken to change evenly.

    Raises ValueError, in a line, for a folder without two of them, and for one whose learning rates aren't known.
    """
    folder = Path(folder)
    numbered = [(re.fullmatch(r"(?:epoch|checkpoint)-(\d+)", path.name), path) for path in folder.glob("*-*")]
    ordered = sorted((int(match[1]), path) for match, path in numbered if match and (path / CONFIG).is_file())
    if len(ordered) < 2:
        names = ", ".join(path.name for _, path in ordered) or "none"
        raise ValueError(f"checkpoints: {folder} has {names}; give a folder of epoch-… or checkpoint-…, two or more")
    return [Checkpoint(path, _spent(path, number)) for number, path in ordered]


def spent_between(checkpoints: Sequence[Checkpoint]) -> list[float]:
    """The learning rate spent around each checkpoint: half of what was spent since the one before, half of what until
    the next, and all that was before the first. The trapezoid rule for a sum over steps."""
    spent = [checkpoint.spent for checkpoint in checkpoints]
    between = np.diff(spent)
    around = (np.append(0.0, between) + np.append(between, 0.0)) / 2
    around[0] += spent[0]
    return around.tolist()


def preconditioner(*checkpoints: Path) -> dict[str, Tensor]:
    """Block -> 1/(√v̂ + 10⁻⁸) [P_b] float32, the weights by which AdamW scaled its last step.

    What `gram.Gram.from_gradients` takes as weights, from a folder that `save_checkpoint` left; of several, √v̂ is their
    mean. Raises ValueError for an adapter without second moments.
    """
    roots: dict[str, list[Tensor]] = {}
    for checkpoint in checkpoints:
        if not (file := checkpoint / MOMENTS).is_file():
            raise ValueError(f"checkpoint: {checkpoint} has no {MOMENTS}; take an epoch of training.finetune from 1 on")
        for block, v in load_file(file).items():
            roots.setdefault(block, []).append(v.sqrt())
    return {block: 1 / (torch.stack(parts).mean(0) + 1e-8) for block, parts in roots.items()}


@contextmanager
def wearing(model: Any, folder: Path) -> Iterator[None]:
    """`with wearing(model, folder)`: its adapter has the values of another checkpoint; as they were, afterwards.

    Raises ValueError where that is an adapter of another shape.
    """
    model = trainable.uncompiled(model)
    read_config(folder)
    parameters = trainable_parameters(model)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    saved = load_file(folder / "adapter_model.safetensors")
    promised = get_peft_model_state_dict(model, adapter_name=model.active_adapter, save_embedding_layers=False)
    try:
        with torch.no_grad():
            for key, value in promised.items():
                if key in saved and saved[key].shape == value.shape:
                    value.copy_(saved[key])  # it shares the parameter's memory
        check_loaded(model, folder)
        yield
    except ValueError as error:
        raise ValueError(f"checkpoint {folder.name}: {error}") from error
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(before[name])


def _spent(folder: Path, step: int) -> float:
    if "spent" in (record := io.read_json(folder / SPENT)):
        return float(record["spent"])
    log = [row for row in io.read_json(folder / TRAINER).get("log_history", []) if "learning_rate" in row]
    if not log:
        raise ValueError(f"checkpoints: {folder} has neither {SPENT} nor learning rates in a {TRAINER}; keep either")
    steps, rates = zip(*((row["step"], row["learning_rate"]) for row in log), strict=True)
    return float(np.interp(np.arange(1, step + 1), steps, rates).sum())
