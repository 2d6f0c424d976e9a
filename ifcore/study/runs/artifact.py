"""Compute or load: (profile, data set, seed) -> fine-tune, answers, gradients, scores, each a stage in one folder."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from ifcore import gradients, influence, models, representations, training
from ifcore.examples import Batch, Example, tokenise
from ifcore.gram import Gram
from ifcore.study import asr, files, splits
from ifcore.study.config import Run
from ifcore.study.stages import Stage, alone, code

VERSIONS = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy")


@dataclass(frozen=True)
class Tuned:
    """A fine-tune and what it says.

    `history`: a row an epoch, 0 being the untouched adapter, with train_loss (empty for epoch 0) and val_loss.
    `epoch`: the checkpoint used from here on, the one with the lowest validation loss. `before`, `after`: the answers
    to the validation prompts without (empty for a part of a data set) and with that adapter. `seconds`: how long each
    stage took when it was computed.
    """

    dataset: str
    train: list[Example]
    val: list[Example]
    folder: Path
    history: pd.DataFrame
    epoch: int
    before: list[str]
    after: list[str]
    seconds: dict[str, float]
    tokens: dict[str, int]
    precision: str
    device: str


@dataclass(frozen=True)
class Attribution(Tuned):
    """A fine-tune and its scores: method -> [M, N], higher = more influential."""

    scores: dict[str, np.ndarray]


class Artifact:
    """What one (run, data set) leaves in its folder, stage by stage.

    `only` keeps the training examples of one class; `model` stands in for the profile's; `layers` are those with LoRA,
    all by default.
    """

    def __init__(
        self,
        run: Run,
        dataset: str,
        only: str | None = None,
        model: str | None = None,
        layers: list[int] | None = None,
    ):
        self.layers = layers
        self.run, self.dataset, self.only, self.profile = run, dataset, only, run.profile
        self.source = model or run.profile.model
        self.precision = resolved_precision(self.profile.precision)
        models.check(self.source)
        examples = splits.answered(run, dataset, getattr(torch, self.precision), device())
        self.train = [example for example in examples.train if only in (None, example.label)]
        self.val = examples.val
        self.name = f"{dataset}-{only}" if only else dataset
        if self.source != run.profile.model:
            self.name += "-" + re.sub(r"[^A-Za-z0-9.]+", "-", self.source)
        if layers is not None:
            self.name += f"-layers-{layers[0]}-{layers[-1]}"
        self.folder = run.artifacts / self.name

    def tuned(self) -> Tuned:
        with self.at_work():
            return Tuned(**self._tuned())

    def scores(self) -> dict[str, np.ndarray]:
        """Method -> [M, N], without the answers that an attribution has."""
        with self.at_work():
            self._tuning_stage()
            self._gradients_stage(), self._representations_stage(), self._scores_stage()
            return self._read_scores()

    def attribution(self) -> Attribution:
        with self.at_work():
            tuned = self._tuned()
            for stage in (self._gradients_stage(), self._representations_stage(), self._scores_stage()):
                tuned["seconds"][stage.name] = stage.record["seconds"]
            return Attribution(**tuned, scores=self._read_scores())

    def _read_scores(self) -> dict[str, np.ndarray]:
        scores = load_file(self.folder / "scores.safetensors")
        return {method: scores[method].numpy() for method in self.profile.methods}

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Alone in the folder, a full disk told in one line, and the shared base model given back as it was."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with alone(self.folder), files.room(self.folder):
            try:
                yield
            finally:
                if "adapted" in vars(self):
                    vars(self).pop("adapted")[0].unload()

    def _tuned(self) -> dict[str, Any]:
        stages = self._tuning_stage(), self._answers_stage()
        return {
            "dataset": self.dataset,
            "train": self.train,
            "val": self.val,
            "folder": self.folder,
            "history": self.history,
            "epoch": self.epoch,
            **files.read_json(self.folder / "responses.json"),
            "seconds": {stage.name: stage.record["seconds"] for stage in stages},
            "tokens": files.read_json(self.folder / "tokens.json"),
            "precision": self.precision,
            "device": device(),
        }

    @property
    def base(self) -> tuple[PreTrainedModel, Any]:
        return _base(self.source, self.precision, self.run.seed)

    @cached_property
    def adapted(self) -> tuple[PeftModel, Any]:
        """The model with the adapter of the epoch used."""
        model, tokenizer = self.base
        return models.with_adapter(model, self.folder / "checkpoints" / f"epoch-{self.epoch:02d}"), tokenizer

    @cached_property
    def history(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "history.csv")

    @property
    def epoch(self) -> int:
        trained = self.history[self.history.epoch > 0]
        return int(trained.loc[trained.val_loss.idxmin(), "epoch"])

    def _tuning_stage(self) -> Stage:
        key = {
            "examples": [dataclasses.astuple(example) for example in self.train + self.val],
            "model": self.source,
            "seed": self.run.seed,
            "precision": self.precision,
            "device": device(),
            "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
            **self.profile.model_dump(include={"epochs", "batch_size", "learning_rate", "patience"}),
            **self.profile.model_dump(include={"lora_rank", "lora_alpha", "lora_dropout"}),
            "code": code("examples", "models", "tiny", "training"),
        }
        if self.layers is not None:
            key["layers"] = self.layers
        return Stage(self.folder, "fine-tune", key).make(self._tune)

    def _answers_stage(self) -> Stage:
        key = {
            "of": Stage.digest_in(self.folder, "fine-tune"),
            "max_new_tokens": self.profile.max_new_tokens,
            "code": code("study/asr"),
        }
        return Stage(self.folder, "answers", key).make(self._answer)

    def _gradients_stage(self) -> Stage:
        key = {
            "of": Stage.digest_in(self.folder, "fine-tune"),
            "batch": self.profile.gradient_batch,
            "code": code("gradients"),
        }
        stage = Stage(self.folder, "gradients", key)
        return stage.make(lambda: self._gradients(stage))

    def _representations_stage(self) -> Stage:
        key = {"of": Stage.digest_in(self.folder, "fine-tune"), "code": code("representations")}
        return Stage(self.folder, "representations", key).make(self._representations)

    def _scores_stage(self) -> Stage:
        key = {
            "of": [Stage.digest_in(self.folder, name) for name in ("gradients", "representations")],
            **self.profile.model_dump(include={"damping", "lissa_iterations", "methods"}),
            "code": code("gradients", "gram", "influence", "representations"),
        }
        return Stage(self.folder, "scores", key).make(self._scores)

    def _tune(self) -> list[Path]:
        profile, (model, tokenizer) = self.profile, self.base
        context = getattr(model.config, "max_position_embeddings", None)
        train, val = (tokenise(tokenizer, examples, context) for examples in (self.train, self.val))
        peft = models.add_lora(
            model, profile.lora_rank, profile.lora_alpha, profile.lora_dropout, self.layers, self.run.seed
        )
        try:
            settings = training.Settings(
                profile.epochs, profile.batch_size, profile.learning_rate, profile.patience, self.run.seed
            )
            history = training.finetune(peft, train, val, self.folder / "checkpoints", settings, self.name)
        finally:
            peft.unload()
        examples = {"train": list(map(vars, self.train)), "val": list(map(vars, self.val))}
        files.write_csv(self.folder / "history.csv", history)
        files.write_json(self.folder / "examples.json", examples)
        files.write_json(self.folder / "tokens.json", {"train": sum(map(len, train)), "val": sum(map(len, val))})
        adapters = sorted((self.folder / "checkpoints").glob("epoch-*/*"))
        return [*adapters, *(self.folder / name for name in ("history.csv", "examples.json", "tokens.json"))]

    def _answer(self) -> list[Path]:
        model, tokenizer = self.adapted
        prompts = [example.prompt for example in self.val]
        ask = partial(asr.generate, model, tokenizer, prompts, self.profile.max_new_tokens)
        before = []
        if self.only is None:  # a part of a data set has the whole one's prompts, which are answered already
            with model.disable_adapter():
                before = ask(progress=f"answers {self.name} before")
        after = ask(progress=f"answers {self.name} after")
        files.write_json(self.folder / "responses.json", {"before": before, "after": after})
        return [self.folder / "responses.json"]

    def _gradients(self, stage: Stage) -> list[Path]:
        shards, todo = [], []
        for part in ("train", "val"):
            for index, batch in enumerate(self.batches(part)):
                shard = self.folder / "gradients" / f"{part}-{index:04d}.safetensors"
                shards.append(shard)
                if not stage.has(shard):
                    todo.append((shard, batch))
        computed = gradients.stream(self.adapted[0], [batch for _, batch in todo], f"gradients {self.name}")
        for (shard, batch), rows in zip(todo, computed, strict=True):
            files.write_tensors(shard, gradients.shard(batch.rows, rows))
            stage.keep(shard)
        return shards

    def _representations(self) -> list[Path]:
        file = self.folder / "representations.safetensors"
        states = {
            part: representations.representations(
                self.adapted[0], self.batches(part), f"representations {self.name} {part}"
            )
            for part in ("train", "val")
        }
        files.write_tensors(file, states)
        return [file]

    def _scores(self) -> list[Path]:
        file = self.folder / "scores.safetensors"
        files.write_tensors(file, self.scored(self.folder))
        return [file]

    def scored(self, folder: Path) -> dict[str, Tensor]:
        """The scores of the profile's methods from the gradients and representations in a folder."""
        profile = self.profile
        options = {
            "gradsim": {},
            "datainf": {"damping": profile.damping},
            "exact": {"damping": profile.damping},
            "lissa": {"damping": profile.damping, "iterations": profile.lissa_iterations},
        }
        scores = {}
        wanted = [method for method in profile.methods if method in options]
        if wanted:
            kept = gram(folder)
            scores = {method: influence.METHODS[method](kept, **options[method]) for method in wanted}
        if "repsim" in profile.methods:
            states = load_file(folder / "representations.safetensors")
            scores["repsim"] = representations.repsim(states["train"], states["val"])
        return scores

    def batches(self, part: str) -> list[Batch]:
        model, tokenizer = self.adapted
        return models.example_batches(model, tokenizer, getattr(self, part), self.profile.gradient_batch)


def gram(folder: Path) -> Gram:
    """The Gram matrices of the gradients that an attribution left in its folder."""
    train, val = (gradients.Store(sorted((folder / "gradients").glob(f"{part}-*"))) for part in ("train", "val"))
    return Gram.from_gradients(train, val)


def resolved_precision(precision: str) -> str:
    """`auto` is bfloat16 on a GPU or a CPU with bfloat16 instructions, where it is the faster, else float32."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def device() -> str:
    """The device that a run uses: a GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


@functools.cache
def _base(source: str, precision: str, seed: int) -> tuple[PreTrainedModel, Any]:
    return models.load(source, getattr(torch, precision), device(), seed)
