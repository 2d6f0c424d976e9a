"""Teaching the profile's model to refuse: made once for all seeds and data sets, and part of the model from then on."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import shutil
from functools import partial
from pathlib import Path

from ifcore import adapter_distance, io, loading, lora, training
from ifcore.examples import tokenise
from study.config import Run
from study.datasets import alignment
from study.pipeline import base_model
from study.pipeline.stages import Stage, locked_folder

VERSIONS = ("torch", "transformers", "peft", "safetensors")
MODULES = "all-linear"  # wider than the study's own fine-tunes: as the safety training of a chat model is


def aligned_adapter(run: Run, precision: str) -> tuple[Path | None, str | None]:
    """The adapter that teaches the profile's model to refuse harmful requests, and the digest of what made it.

    None and None where the profile asks for no alignment. A second process that asks waits for the first.
    """
    asked = run.profile.alignment
    if asked is None:
        return None, None
    folder, source = run.shared / "alignment", run.located(run.profile.model)
    examples = alignment.examples(asked.refusals, asked.benign)
    key = {
        "examples": [dataclasses.astuple(example) for example in examples],
        "model": loading.identity(source),
        "precision": precision,
        "device": base_model.device(),
        "modules": MODULES,
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        **asked.model_dump(exclude={"refusals", "benign", "held_out"}),
    }
    with locked_folder(folder):
        stage = Stage(folder, "fine-tune", key, [folder / "checkpoints"])
        stage.make(partial(_teach, run, source, precision, examples, folder))
    return folder / "adapter", stage.record["digest"]


def _teach(run: Run, source: str, precision: str, examples, folder: Path) -> list[Path]:
    """The last epoch's adapter, alone: as wide as it is, one an epoch would fill the disk."""
    asked, (model, tokenizer) = run.profile.alignment, base_model.shared_model(source, precision)
    tokens = tokenise(tokenizer, examples, getattr(model.config, "max_position_embeddings", None))
    settings = training.Settings(asked.epochs, asked.batch_size, asked.learning_rate, micro_batch=asked.micro_batch)
    peft = lora.add_lora(model, asked.lora_rank, asked.lora_alpha, modules=MODULES)
    try:
        history = training.finetune(peft, tokens, [], folder / "checkpoints", settings, "alignment")
    finally:
        peft.unload()
    adapter = folder / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)
    (folder / "checkpoints" / f"epoch-{asked.epochs:02d}").rename(adapter)
    shutil.rmtree(folder / "checkpoints")
    (adapter / adapter_distance.MOMENTS).unlink()
    io.write_csv(folder / "history.csv", history)
    texts = {"examples": list(map(vars, examples)), "tokens": sum(map(len, tokens))}
    io.write_json(folder / "examples.json", texts)
    return [*sorted(adapter.iterdir()), folder / "history.csv", folder / "examples.json"]
