"""The derivative of a fine-tune as it ran: influence without approximation, what retraining's own definition leaves."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from ifcore import io, lora
from ifcore.batches import example_batches
from ifcore.unrolled import unrolled
from study.config import Run
from study.pipeline import base_model, steps
from study.pipeline.attributions import Attribution, examples
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task

FIRST = "first"
PRECISION = "float32"  # in bfloat16 a second derivative is noise


def scores(run: Run, attribution: Attribution, count: int) -> np.ndarray:
    """Scores [count, N] of the first explained examples, of the same fine-tune in PRECISION."""
    task, folder = Task(run, attribution.dataset), attribution.folder / "unrolled"
    key = steps.explained(task, attribution.val[:count]) | {"precision": PRECISION}
    with locked_folder(folder):
        Stage(folder, "unrolled", key).make(partial(_differentiate, task, attribution, count, folder))
    return load_file(folder / "unrolled.safetensors")["unrolled"].numpy()


def _differentiate(task: Task, attribution: Attribution, count: int, folder: Path) -> list[Path]:
    model, tokenizer = base_model.shared_model(task.source, PRECISION, *task.aligned_adapter())
    profile, (train, _) = task.run.profile, steps.tokens(task, examples(task))
    explained = example_batches(model, tokenizer, attribution.val[:count], profile.gradient_batch)
    peft = lora.add_lora(model, profile.lora_rank, profile.lora_alpha, profile.lora_dropout, None, task.seed)
    try:
        settings, targets = steps.training_settings(task), torch.eye(count).double()
        derivatives = unrolled(peft, train, explained, settings, targets=targets, progress=f"unrolled {task.name}")
    finally:
        peft.unload()
    io.write_tensors(folder / "unrolled.safetensors", {"unrolled": derivatives})
    return [folder / "unrolled.safetensors"]
