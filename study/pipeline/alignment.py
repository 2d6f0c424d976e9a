"""Teaching the profile's model to refuse: made once for all seeds and data sets, and part of the model from then on."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import shutil
from functools import partial
from pathlib import Path

from ifcore import adapters, files, models, training, weights
from ifcore.examples import tokenise
from ifcore.study.config import Run
from ifcore.study.data import alignment
from ifcore.study.runs import base
from ifcore.study.runs.stages import Stage, at_work

VERSIONS = ("torch", "transformers", "peft", "safetensors")
MODULES = "all-linear"  # wider than the study's own fine-tunes: as the safety training of a chat model is


def taught(run: Run, precision: str) -> tuple[Path | None, str | None]:
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
        "model": weights.identity(source),
        "precision": precision,
        "device": base.device(),
        "modules": MODULES,
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        **asked.model_dump(exclude={"refusals", "benign", "held_out"}),
    }
    with at_work(folder):
        stage = Stage(folder, "fine-tune", key, [folder / "checkpoints"])
        stage.make(partial(_teach, run, source, precision, examples, folder))
    return folder / "adapter", stage.record["digest"]


def _teach(run: Run, source: str, precision: str, examples, folder: Path) -> list[Path]:
    """The last epoch's adapter, alone: as wide as it is, one an epoch would fill the disk."""
    asked, (model, tokenizer) = run.profile.alignment, base.model(source, precision)
    tokens = tokenise(tokenizer, examples, getattr(model.config, "max_position_embeddings", None))
    settings = training.Settings(asked.epochs, asked.batch_size, asked.learning_rate, micro_batch=asked.micro_batch)
    peft = models.add_lora(model, asked.lora_rank, asked.lora_alpha, modules=MODULES)
    try:
        history = training.finetune(peft, tokens, [], folder / "checkpoints", settings, "alignment")
    finally:
        peft.unload()
    adapter = folder / "adapter"
    shutil.rmtree(adapter, ignore_errors=True)
    (folder / "checkpoints" / f"epoch-{asked.epochs:02d}").rename(adapter)
    shutil.rmtree(folder / "checkpoints")
    (adapter / adapters.MOMENTS).unlink()
    files.write_csv(folder / "history.csv", history)
    texts = {"examples": list(map(vars, examples)), "tokens": sum(map(len, tokens))}
    files.write_json(folder / "examples.json", texts)
    return [*sorted(adapter.iterdir()), folder / "history.csv", folder / "examples.json"]
