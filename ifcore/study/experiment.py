"""Compute or load: (profile, data set, seed) -> scores. The only writer of artifacts/.

Each stage leaves a record of what determined it and of the hash of every file it wrote. A stage runs again unless
its record and its files are as they should be, so a stale, half-written or altered artifact is never used.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from peft import PeftModel
from safetensors.torch import load_file

import ifcore
from ifcore import gradients, influence, models, representations, training
from ifcore.examples import Example, tokenise
from ifcore.gram import Gram
from ifcore.study import data, files
from ifcore.study.config import Run

VERSIONS = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy")


@dataclass(frozen=True)
class Attribution:
    """What a run knows of one data set.

    `scores`: method -> [M, N], higher = more influential. `history`: a row an epoch, with its train_loss and
    val_loss. `epoch`: the checkpoint that the scores are of, the one with the lowest validation loss.
    `seconds`: how long each stage took when it was computed. `tokens`: training and validation tokens.
    """

    dataset: str
    train: list[Example]
    val: list[Example]
    scores: dict[str, np.ndarray]
    history: pd.DataFrame
    epoch: int
    seconds: dict[str, float]
    tokens: dict[str, int]
    precision: str
    device: str


def attribute(run: Run, dataset: str) -> Attribution:
    """Fine-tune on `dataset`, take gradients and representations, and score; or load what an earlier call left.

    A second process that asks for the same waits for the first. Raises ValueError, in one line, for a data set that
    the profile does not size and for anything wrong with the model or the data, before anything is written.
    """
    models.check(run.profile.model)
    split = _split(run, dataset)
    folder = run.artifacts / dataset
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder), files.room(folder):
        return _attribute(run, dataset, split, folder)


def check(run: Run) -> None:
    """Raise ValueError, in one line, for whatever can be seen to be wrong with the run before anything long starts."""
    models.check(run.profile.model)
    for dataset in run.profile.datasets:
        _split(run, dataset)


def resolved_precision(precision: str) -> str:
    """`auto` is bfloat16 on a GPU or a CPU with bfloat16 instructions, where it is 2 to 3 × faster, else float32."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() else "float32"


def device() -> str:
    """The device that a run uses: a GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _attribute(run: Run, dataset: str, split: data.Split, folder: Path) -> Attribution:
    profile = run.profile
    precision = resolved_precision(profile.precision)
    base = functools.partial(_base, profile.model, precision, run.seed)
    tuned = _Stage(
        folder,
        "fine-tune",
        {
            "examples": [dataclasses.astuple(example) for example in split.train + split.val],
            "model": profile.model,
            "seed": run.seed,
            "precision": precision,
            "device": device(),
            "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
            **profile.model_dump(include={"epochs", "batch_size", "learning_rate", "patience"}),
            **profile.model_dump(include={"lora_rank", "lora_alpha", "lora_dropout"}),
            "code": _code("examples", "models", "tiny", "training"),
        },
    )
    tuned.make(lambda: _finetune(run, dataset, split, base, folder))
    history = pd.read_csv(folder / "history.csv")
    epoch = int(history.loc[history.val_loss.idxmin(), "epoch"])

    @functools.cache
    def adapted() -> tuple[PeftModel, Any]:
        model, tokenizer = base()
        return models.with_adapter(model, folder / "checkpoints" / f"epoch-{epoch:02d}"), tokenizer

    def batched(examples: list[Example]):
        model, tokenizer = adapted()
        return models.example_batches(model, tokenizer, examples, profile.gradient_batch)

    graded = _Stage(
        folder,
        "gradients",
        {"of": tuned.digest, "batch": profile.gradient_batch, "code": _code("examples", "models", "gradients")},
    )
    graded.make(lambda: _gradients(split, adapted, batched, folder, graded, dataset))

    represented = _Stage(folder, "representations", {"of": tuned.digest, "code": _code("representations")})
    represented.make(lambda: _representations(split, adapted, batched, folder, dataset))

    scored = _Stage(
        folder,
        "scores",
        {
            "of": [graded.digest, represented.digest],
            **profile.model_dump(include={"damping", "lissa_iterations", "methods"}),
            "code": _code("gradients", "gram", "influence", "representations"),
        },
    )
    scored.make(lambda: _scores(run, folder))
    if adapted.cache_info().currsize:
        adapted()[0].unload()  # the base model is shared with the next data set

    scores = {name: value.numpy() for name, value in load_file(folder / "scores.safetensors").items()}
    return Attribution(
        dataset,
        split.train,
        split.val,
        {method: scores[method] for method in profile.methods},
        history,
        epoch,
        {stage.name: stage.record["seconds"] for stage in (tuned, graded, represented, scored)},
        files.read_json(folder / "tokens.json"),
        precision,
        device(),
    )


def _split(run: Run, dataset: str) -> data.Split:
    if dataset not in run.profile.datasets:
        raise ValueError(f"dataset: {dataset!r}; {run.profile.name} has {', '.join(run.profile.datasets)}")
    counts = run.profile.datasets[dataset]
    sources = {"harmful": run.profile.harmful_source, "benign": run.profile.benign_source}
    paths = {name: str(run.root / path) if path and ":" not in path else path for name, path in sources.items()}
    return data.load(dataset, counts.train, counts.val, run.seed, **paths)


@functools.cache
def _base(source: str, precision: str, seed: int):
    return models.load(source, getattr(torch, precision), device(), seed)


def _finetune(run: Run, dataset: str, split: data.Split, base: Callable, folder: Path) -> list[Path]:
    profile = run.profile
    model, tokenizer = base()
    context = getattr(model.config, "max_position_embeddings", None)
    train, val = (tokenise(tokenizer, examples, context) for examples in (split.train, split.val))
    peft = models.add_lora(model, profile.lora_rank, profile.lora_alpha, profile.lora_dropout, seed=run.seed)
    try:
        settings = training.Settings(
            profile.epochs, profile.batch_size, profile.learning_rate, profile.patience, run.seed
        )
        history = training.finetune(peft, train, val, folder / "checkpoints", settings, dataset)
    finally:
        peft.unload()
    files.write_csv(folder / "history.csv", history)
    files.write_json(folder / "examples.json", {name: list(map(vars, part)) for name, part in vars(split).items()})
    files.write_json(folder / "tokens.json", {"train": sum(map(len, train)), "val": sum(map(len, val))})
    adapters = sorted((folder / "checkpoints").glob("epoch-*/*"))
    return [*adapters, *(folder / name for name in ("history.csv", "examples.json", "tokens.json"))]


def _gradients(split, adapted, batched, folder: Path, stage: _Stage, dataset: str) -> list[Path]:
    shards = []
    todo = []
    for part in ("train", "val"):
        for index, batch in enumerate(batched(getattr(split, part))):
            shard = folder / "gradients" / f"{part}-{index:04d}.safetensors"
            shards.append(shard)
            if not stage.has(shard):
                todo.append((shard, batch))
    computed = gradients.stream(adapted()[0], [batch for _, batch in todo], f"gradients {dataset}")
    for (shard, batch), rows in zip(todo, computed, strict=True):
        files.write_tensors(shard, gradients.shard(batch.rows, rows))
        stage.keep(shard)
    return shards


def _representations(split, adapted, batched, folder: Path, dataset: str) -> list[Path]:
    file = folder / "representations.safetensors"
    states = {
        part: representations.representations(
            adapted()[0], batched(getattr(split, part)), f"representations {dataset} {part}"
        )
        for part in ("train", "val")
    }
    files.write_tensors(file, states)
    return [file]


def _scores(run: Run, folder: Path) -> list[Path]:
    profile = run.profile
    file = folder / "scores.safetensors"
    options = {
        "gradsim": {},
        "datainf": {"damping": profile.damping},
        "exact": {"damping": profile.damping},
        "lissa": {"damping": profile.damping, "iterations": profile.lissa_iterations},
    }
    scores = {}
    wanted = [method for method in profile.methods if method in options]
    if wanted:
        train, val = (gradients.Store(sorted((folder / "gradients").glob(f"{p}-*"))) for p in ("train", "val"))
        gram = Gram.from_gradients(train, val)
        scores = {method: influence.METHODS[method](gram, **options[method]) for method in wanted}
    if "repsim" in profile.methods:
        states = load_file(folder / "representations.safetensors")
        scores["repsim"] = representations.repsim(states["train"], states["val"])
    files.write_tensors(file, scores)
    return [file]


class _Stage:
    """One step of an artifact's making: its key, and the record of what it left."""

    def __init__(self, folder: Path, name: str, key: dict[str, Any]):
        self.folder, self.name, self.key = folder, name, key
        self.digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self.record: dict[str, Any] = files.read_json(self._path)

    def make(self, build: Callable[[], list[Path]]) -> None:
        """Run `build`, which returns the files it leaves, unless they are all there under this key."""
        if self.record.get("done") and self.record["digest"] == self.digest and all(map(self.has, self._kept())):
            return
        if self.record.get("digest") != self.digest or self.record.get("done"):
            self._restart()
        start = time.perf_counter()
        for path in build():
            self.keep(path)
        self.record |= {"done": True, "seconds": round(self.record["seconds"] + time.perf_counter() - start, 3)}
        self._save()

    def has(self, path: Path) -> bool:
        """Whether `path` is there as this stage wrote it."""
        sum_ = self.record["files"].get(str(path.relative_to(self.folder)))
        return sum_ is not None and files.sha256(path) == sum_

    def keep(self, path: Path) -> None:
        """Note `path` as finished, so that a run that goes on after a kill need not make it again."""
        self.record["files"][str(path.relative_to(self.folder))] = files.sha256(path)
        self._save()

    def _restart(self) -> None:
        for path in self._kept():
            path.unlink(missing_ok=True)
        if self.name == "fine-tune":
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        self.record = {"digest": self.digest, "key": self.key, "files": {}, "done": False, "seconds": 0.0}
        self._save()

    def _kept(self) -> list[Path]:
        return [self.folder / name for name in self.record.get("files", {})]

    def _save(self) -> None:
        files.write_json(self._path, self.record)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.name}.json"


def _alone(folder: Path) -> FileLock:
    """The folder's lock; says so when another process has it, then waits."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder.name}: another run is computing it; waiting for that one", file=sys.stderr)
    else:
        lock.release()
    return lock


@functools.cache
def _code(*modules: str) -> str:
    """Hash of what some engine files do: their syntax trees without docstrings, so prose may change freely."""
    engine = Path(ifcore.__file__).parent
    trees = [ast.parse((engine / f"{module}.py").read_text(encoding="utf-8")) for module in modules]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256("".join(map(ast.dump, trees)).encode()).hexdigest()


_DOCUMENTED = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
