"""Teaching the profile's model to refuse: made once for all seeds and data sets, and part of the model from then on."""

import dataclasses
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from ifcore import io, lora, training
from ifcore.checkpoints import MOMENTS
from ifcore.tokens import tokenise
from study.config import Run
from study.datasets import alignment
from study.pipeline import base_model
from study.pipeline.stages import Stage, full_key, locked_folder
from study.profile import Alignment

MODULES = "all-linear"  # wider than the study's own fine-tunes: as the safety training of a chat model is


def alignment_digest(run: Run, precision: str) -> str | None:
    """The alignment's digest, for the keys of what is made with it; nothing is trained or loaded. None without one."""
    settings = run.profile.alignment
    return None if settings is None else full_key(_key(run, settings, precision), _teach)[1]


def aligned_adapter(run: Run, precision: str) -> tuple[Path | None, str | None]:
    """The adapter that teaches the profile's model to refuse harmful requests, trained if it is missing; its digest.

    None and None where the profile asks for no alignment. A second process that asks waits for the first.
    """
    settings = run.profile.alignment
    if settings is None:
        return None, None
    folder = run.shared / "alignment"
    with locked_folder(folder):
        checkpoints = [folder / "checkpoints"]
        stage = Stage(folder, "fine-tune", _key(run, settings, precision), checkpoints, temporary=checkpoints)
        stage.make(partial(_teach, run.located(run.profile.model), settings, precision, folder))
    return folder / "adapter", stage.record["digest"]


def _key(run: Run, settings: Alignment, precision: str) -> dict[str, Any]:
    return {
        "examples": list(
            map(dataclasses.astuple, alignment.examples(settings.refusals, settings.benign, settings.alike))
        ),
        "modules": MODULES,
        **base_model.environment(run.located(run.profile.model), precision),
        **settings.model_dump(exclude={"refusals", "benign", "alike", "held_out"}),
    }


def _teach(source: str, settings: Alignment, precision: str, folder: Path) -> list[Path]:
    """Keeps the last epoch's adapter alone: it is wide, and one an epoch would fill the disk."""
    model, tokenizer = base_model.shared_model(source, precision)
    examples = alignment.examples(settings.refusals, settings.benign, settings.alike)
    tokens = tokenise(tokenizer, examples, getattr(model.config, "max_position_embeddings", None))
    fields = settings.model_dump(include={"epochs", "batch_size", "learning_rate", "micro_batch"})
    peft = lora.add_lora(model, settings.lora_rank, settings.lora_alpha, modules=MODULES)
    try:
        history = training.finetune(peft, tokens, [], folder / "checkpoints", training.Settings(**fields), "alignment")
    finally:
        peft.unload()
    adapter = folder / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)
    shutil.copytree(folder / "checkpoints" / f"epoch-{settings.epochs:02d}", adapter)
    (adapter / MOMENTS).unlink()
    io.write_csv(folder / "history.csv", history)
    io.write_json(folder / "examples.json", {"examples": list(map(vars, examples)), "tokens": sum(map(len, tokens))})
    return [*sorted(adapter.iterdir()), folder / "history.csv", folder / "examples.json"]
