"""The steps from examples to scores: each a stage in the task's folder, made once and kept."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

from ifcore import gradient_store, gradients, influence, io, loading, lora, representations, training
from ifcore.examples import Batch, Example, Tokens, tokenise
from ifcore.gram import Gram
from study.datasets import Split
from study.pipeline import answers, base_model
from study.pipeline.stages import Stage, digest_in
from study.pipeline.task import Task, batch_size

VERSIONS = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy")


def fine_tune(task: Task, split: Split) -> tuple[Stage, pd.DataFrame]:
    """An adapter an epoch under checkpoints/, and the history of the losses."""
    key, folders = determined_by(task, split), [task.folder / "checkpoints"]
    stage = Stage(task.folder, "fine-tune", key, folders).make(
        partial(_fine_tune, task, split, training_settings(task))
    )
    return stage, io.read_csv(task.folder / "history.csv")


def determined_by(task: Task, split: Split) -> dict[str, Any]:
    """All that a fine-tune depends on."""
    return {
        "examples": [dataclasses.astuple(example) for example in split.train],
        "dev": [dataclasses.astuple(example) for example in split.dev],
        "model": loading.identity(task.source),
        "alignment": task.alignment()[1],
        "precision": task.precision,
        "device": base_model.device(),
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "layers": task.layers,
        **dataclasses.asdict(training_settings(task)),
        **task.run.profile.model_dump(include={"lora_rank", "lora_alpha", "lora_dropout"}),
    }


def training_settings(task: Task) -> training.Settings:
    """How the task is fine-tuned."""
    given = {field.name for field in dataclasses.fields(training.Settings)} - {"seed", "batch_size", "epochs"}
    profile = task.run.profile.model_dump(include=given)
    return training.Settings(seed=task.seed, batch_size=batch_size(task), epochs=task.epochs, **profile)


def train(task: Task, split: Split, how: training.Settings) -> pd.DataFrame:
    """Fine-tunes, and leaves an adapter an epoch under checkpoints/; the history of the losses."""
    profile, model = task.run.profile, task.base()[0]
    tokens = _tokens(task, split)
    layers = None if task.layers is None else list(task.layers)
    peft = lora.add_lora(model, profile.lora_rank, profile.lora_alpha, profile.lora_dropout, layers, task.seed)
    try:
        return training.finetune(peft, *tokens, task.folder / "checkpoints", how, task.name)
    finally:
        peft.unload()


def explained(task: Task, examples: Split) -> dict[str, Any]:
    """What everything depends on that is made of a fine-tune for the examples whose behaviour is explained."""
    val = [dataclasses.astuple(example) for example in examples.val]
    return {"of": digest_in(task.folder, "fine-tune"), "val": val}


def generate_answers(task: Task, split: Split, epoch: int) -> Stage:
    """Answers to the validation prompts, without the adapter and with it."""
    key = {"max_new_tokens": task.run.profile.max_new_tokens, **explained(task, split)}
    return Stage(task.folder, "answers", key).make(partial(_say, task, split, epoch))


def differentiate(task: Task, split: Split, epoch: int) -> Stage:
    """The gradient of every example in shards, and every example's hidden state, which the same pass yields."""
    key = explained(task, split) | {"batch": task.run.profile.gradient_batch}
    stage = Stage(task.folder, "gradients", key, [task.folder / "gradients", task.folder / "states"])
    return stage.make(partial(_differentiate, task, split, epoch, stage))


def score(task: Task) -> Stage:
    """The scores of the profile's methods from the gradients and hidden states in the task's folder."""
    key = {
        "of": digest_in(task.folder, "gradients"),
        **task.run.profile.model_dump(include={"damping", "lissa_iterations", "methods"}),
    }
    return Stage(task.folder, "scores", key).make(partial(_score, task))


def scores_of(task: Task, folder: Path) -> dict[str, Tensor]:
    """Method -> [M, N] from the gradients and representations in a folder.

    Beside the profile's methods: `gradsim` and `cosine` [M, N], the training examples' gradient `norms` [N], and their
    `losses` [N].
    """
    profile, kept, states = task.run.profile, gram(folder), load_file(folder / "representations.safetensors")
    options = {
        "gradsim": {},
        "datainf": {"damping": profile.damping},
        "exact": {"damping": profile.damping},
        "lissa": {"damping": profile.damping, "iterations": profile.lissa_iterations},
    }
    wanted = [method for method in profile.methods if method in options]
    scores = {method: influence.METHODS[method](kept, **options[method]) for method in wanted}
    if "repsim" in profile.methods:
        scores["repsim"] = representations.repsim(states["train.prompt_end"], states["val.prompt_end"])
    norms = kept.K.diagonal(dim1=1, dim2=2).sum(0).sqrt()
    scores |= {"gradsim": influence.gradsim(kept), "cosine": influence.cosine(kept)}
    return scores | {"norms": norms, "losses": states["train.losses"]}


def write_shards(folder: Path, model, batches: Sequence[tuple[str, Batch]], label: str) -> Iterator[tuple[Path, Path]]:
    """Leaves of each named batch its gradients, hidden states and losses in a folder, by one pass; yields the files."""
    computed = gradients.with_states(model, [batch for _, batch in batches], label)
    for (name, batch), (rows, hidden) in zip(batches, computed, strict=True):
        shard, states = _shards(folder, name)
        kept = {each: representations.at(hidden, batch, each) for each in representations.POSITIONS}
        with torch.no_grad():
            kept["losses"] = lora.losses_of(model, hidden, batch.to(lora.device_of(model))).cpu()
        io.write_tensors(states, {"rows": batch.rows, **kept})
        io.write_tensors(shard, gradient_store.shard(batch.rows, rows))
        yield shard, states


def read_states(folder: Path) -> dict[str, Tensor]:
    """What `write_shards` left in a folder beside gradients: `train.prompt_end` [N, H], …, `val.losses` [M]."""
    states = {}
    for part in ("train", "val"):
        shards = [load_file(file) for file in sorted((folder / "states").glob(f"{part}-*"))]
        order = torch.cat([shard["rows"] for shard in shards]).argsort()
        for kind in shards[0].keys() - {"rows"}:
            states[f"{part}.{kind}"] = torch.cat([shard[kind] for shard in shards])[order]
    return states


@contextmanager
def temporary_gradients(
    task: Task, examples: Mapping[str, list[Example]], epoch: int, place: Path, label: str, loss_on: str = "response"
) -> Iterator[Path]:
    """`with passing(…) as folder`: gradients of parts (train, val) at a checkpoint, on disk no longer than it takes.

    Hidden states and losses lie beside those of the response's loss. `loss_on`: see `examples.batches`.
    """
    place.mkdir(parents=True, exist_ok=True)
    tokenizer, size = task.base()[1], task.run.profile.gradient_batch
    with tempfile.TemporaryDirectory(dir=place) as scratch, task.adapted(epoch) as model:
        length = None  # of a batch's longest, unless the padding counts
        if loss_on == "padded":
            length = max(map(len, tokenise(tokenizer, [example for part in examples.values() for example in part])))
        for part, each in examples.items():
            batches = lora.example_batches(model, tokenizer, each, size, loss_on, length)
            named = [(f"{part}-{index:04d}.safetensors", batch) for index, batch in enumerate(batches)]
            if loss_on == "response":
                deque(write_shards(Path(scratch), model, named, f"{label} {part}"), maxlen=0)
            else:
                computed = gradients.stream(model, batches, f"{label} {part}")
                for (name, batch), rows in zip(named, computed, strict=True):
                    io.write_tensors(_shards(Path(scratch), name)[0], gradient_store.shard(batch.rows, rows))
        yield Path(scratch)


def gram(folder: Path, val: Path | None = None, weights: Mapping[str, Tensor] | None = None) -> Gram:
    """The Gram matrices of the gradients that an attribution left in its folder, those of `val` from another one.

    `weights`: see `Gram.from_gradients`.
    """
    return Gram.from_gradients(*stores(folder, val), weights=weights)


def stores(folder: Path, val: Path | None = None) -> tuple[gradient_store.Store, gradient_store.Store]:
    """Those gradients themselves, of train and of val."""
    folders = {"train": folder, "val": val or folder}
    return tuple(gradient_store.Store(sorted((of / "gradients").glob(f"{part}-*"))) for part, of in folders.items())


def read_scores(folder: Path, methods: Iterable[str]) -> dict[str, np.ndarray]:
    """Method -> [M, N] from scores.safetensors in a folder."""
    scores = load_file(folder / "scores.safetensors")
    return {method: scores[method].numpy() for method in methods}


def _shards(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / "gradients" / name, folder / "states" / name


def _tokens(task: Task, split: Split) -> tuple[list[Tokens], list[Tokens]]:
    """Of the training and the dev examples."""
    model, tokenizer = task.base()
    context = getattr(model.config, "max_position_embeddings", None)
    return tokenise(tokenizer, split.train, context), tokenise(tokenizer, split.dev, context)


def _fine_tune(task: Task, split: Split, how: training.Settings) -> list[Path]:
    history = train(task, split, how)
    texts = {"train": list(map(vars, split.train)), "dev": list(map(vars, split.dev))}
    tokens = {part: sum(map(len, each)) for part, each in zip(texts, _tokens(task, split), strict=True)}
    io.write_json(task.folder / "examples.json", texts | {"tokens": tokens})
    io.write_csv(task.folder / "history.csv", history)
    adapters = sorted((task.folder / "checkpoints").glob("epoch-*/*"))
    return [*adapters, task.folder / "history.csv", task.folder / "examples.json"]


def _say(task: Task, split: Split, epoch: int) -> list[Path]:
    prompts, tokenizer = [example.prompt for example in split.val], task.base()[1]
    said: dict[str, list[str]] = {"before": []}
    with task.adapted(epoch) as model:
        ask = partial(answers.generate, model, tokenizer, prompts, task.run.profile.max_new_tokens)
        if task.only is None:  # a part of a data set has the whole one's prompts, which are answered already
            with model.disable_adapter():
                said["before"] = ask(progress=f"answers {task.name} before")
        with lora.merged(model):
            said["after"] = ask(progress=f"answers {task.name} after")
    tokens = {"val": sum(map(len, tokenise(tokenizer, split.val)))}
    told = {"val": list(map(vars, split.val)), "answers": said, "tokens": tokens}
    io.write_json(task.folder / "responses.json", told)
    return [task.folder / "responses.json"]


def _differentiate(task: Task, split: Split, epoch: int, stage: Stage) -> list[Path]:
    wanted, tokenizer = [], task.base()[1]
    with task.adapted(epoch) as model:
        for part in ("train", "val"):
            batches = lora.example_batches(model, tokenizer, getattr(split, part), task.run.profile.gradient_batch)
            wanted += [(f"{part}-{index:04d}.safetensors", batch) for index, batch in enumerate(batches)]
        todo = [(name, batch) for name, batch in wanted if not all(map(stage.has, _shards(task.folder, name)))]
        for written in write_shards(task.folder, model, todo, f"gradients {task.name}"):
            for shard in written:
                stage.keep(shard)
    file = task.folder / "representations.safetensors"
    io.write_tensors(file, read_states(task.folder))
    return [file, *(shard for name, _ in wanted for shard in _shards(task.folder, name))]


def _score(task: Task) -> list[Path]:
    file = task.folder / "scores.safetensors"
    io.write_tensors(file, scores_of(task, task.folder))
    return [file]
