"""The steps from examples to scores: each a stage in the task's folder, made once and kept."""

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor

from ifcore import gradient_store, io, lora, representations, training
from ifcore.examples import Example, Tokens
from ifcore.gradient_store import Store
from ifcore.gram import Gram
from ifcore.methods import OF_GRAM, gram_scores
from ifcore.tokens import tokenise
from study.datasets import Split
from study.pipeline import answers, base_model
from study.pipeline.losses import LossOn, loss_batches
from study.pipeline.stages import Stage, recorded_digest
from study.pipeline.task import Task, batch_size

SCORES = "scores.safetensors"

Parts = Mapping[str, Sequence[Example]]  # "train" and "val", or one of them


def fine_tune(task: Task, split: Split) -> tuple[Stage, pd.DataFrame]:
    """An adapter an epoch under checkpoints/, and the history of the losses."""
    task.aligned_adapter()  # trained, if it is missing, before this stage's clock starts
    checkpoints = task.folder / "checkpoints"
    stage = Stage(task.folder, "fine-tune", determined_by(task, split), [checkpoints], [checkpoints / "finished"])
    stage.make(partial(_fine_tune, task, split, training_settings(task)))
    return stage, io.read_csv(task.folder / "history.csv")


def determined_by(task: Task, split: Split) -> dict[str, Any]:
    """All that a fine-tune depends on."""
    return {
        "examples": list(map(dataclasses.astuple, split.train)),
        "dev": list(map(dataclasses.astuple, split.dev)),
        "alignment": task.alignment_digest(),
        "layers": task.layers,
        **base_model.environment(task.source, task.precision),
        **dataclasses.asdict(training_settings(task)),
        **task.run.profile.model_dump(include={"lora_rank", "lora_alpha", "lora_dropout"}),
    }


def training_settings(task: Task) -> training.Settings:
    """How the task is fine-tuned."""
    given = {field.name for field in dataclasses.fields(training.Settings)} - {"seed", "batch_size", "epochs"}
    profile = task.run.profile.model_dump(include=given)
    return training.Settings(seed=task.seed, batch_size=batch_size(task), epochs=task.epochs, **profile)


def train(task: Task, split: Split, settings: training.Settings) -> pd.DataFrame:
    """Fine-tunes, and leaves an adapter an epoch under checkpoints/; the history of the losses."""
    examples = tokens(task, split)
    with fresh_adapter(task) as model:
        return training.finetune(model, *examples, task.folder / "checkpoints", settings, task.name)


@contextmanager
def fresh_adapter(task: Task) -> Iterator[PeftModel]:
    """`with fresh_adapter(task) as model`: the base with the adapter that the fine-tune starts from, then taken off."""
    profile, layers = task.run.profile, None if task.layers is None else list(task.layers)
    sizes = profile.lora_rank, profile.lora_alpha, profile.lora_dropout
    peft = lora.add_lora(task.base()[0], *sizes, layers, task.seed)
    try:
        yield peft
    finally:
        peft.unload()


def explained(task: Task, val: Sequence[Example]) -> dict[str, Any]:
    """What everything depends on that is made of a fine-tune for the examples whose behaviour is explained."""
    return {"of": recorded_digest(task.folder, "fine-tune"), "val": list(map(dataclasses.astuple, val))}


def generate_answers(task: Task, split: Split, epoch: int) -> Stage:
    """Answers to the validation prompts, without the adapter and with it."""
    key = {"max_new_tokens": task.run.profile.max_new_tokens, **explained(task, split.val)}
    return Stage(task.folder, "answers", key).make(partial(_generate_answers, task, split, epoch))


def compute_gradients(task: Task, split: Split, epoch: int) -> Stage:
    """The gradient of every example in shards, and its hidden states and loss, which the same pass yields."""
    key = explained(task, split.val) | {"batch": task.run.profile.gradient_batch}
    examples = {"train": split.train, "val": split.val}
    stage = Stage(task.folder, "gradients", key, [task.folder / "gradients" / part for part in examples])
    return stage.make(partial(_write_gradients, task, examples, epoch, task.folder, f"gradients {task.name}"))


def score(task: Task) -> Stage:
    """The scores of the profile's methods from the gradients and hidden states in the task's folder."""
    key = task.run.profile.model_dump(include={"damping", "lissa_iterations", "methods"})
    key |= {"of": recorded_digest(task.folder, "gradients")}
    return Stage(task.folder, "scores", key).make(partial(write_scores, task, task.folder, task.folder))


def write_scores(task: Task, folder: Path, target: Path) -> list[Path]:
    """Scores of the profile's methods, from the gradients in a folder, as scores.safetensors in another.

    Beside them: `gradsim` and `cosine` [M, N], the training examples' gradient `norms` [N], and their `losses` [N].
    """
    profile, products = task.run.profile, gram(folder)
    train, val = stores(folder)
    keys = [key for key in OF_GRAM if key in (*profile.methods, "gradsim", "cosine")]
    scores = gram_scores([products], keys, profile.damping, profile.lissa_iterations)
    if "repsim" in profile.methods:
        scores["repsim"] = representations.repsim(train.beside("prompt_end"), val.beside("prompt_end"))
    norms = products.K.diagonal(dim1=1, dim2=2).sum(0).sqrt()
    io.write_tensors(target / SCORES, scores | {"norms": norms, "losses": train.beside("losses")})
    return [target / SCORES]


@contextmanager
def temporary_gradients(
    task: Task, examples: Parts, epoch: int, folder: Path, label: str, loss_on: LossOn = "response"
) -> Iterator[Path]:
    """`with temporary_gradients(…) as place`: gradients of parts (train, val) at a checkpoint, deleted afterwards.

    `loss_on`: see `losses.loss_batches`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _write_gradients(task, examples, epoch, Path(scratch), label, loss_on)
        yield Path(scratch)


def gram(folder: Path, val: Path | None = None, weights: Mapping[str, Tensor] | None = None) -> Gram:
    """The Gram matrices of the gradients that an attribution left in its folder, those of `val` from another one.

    `weights`: see `Gram.from_gradients`.
    """
    return Gram.from_gradients(*stores(folder, val), weights=weights)


def stores(folder: Path, val: Path | None = None) -> tuple[Store, Store]:
    """Those gradients themselves, of train and of val."""
    folders = folder / "gradients" / "train", (val or folder) / "gradients" / "val"
    train_store, val_store = (Store(sorted(shards.glob("*.safetensors"))) for shards in folders)
    return train_store, val_store


def read_scores(folder: Path, methods: Iterable[str]) -> dict[str, np.ndarray]:
    """Method -> [M, N] from scores.safetensors in a folder."""
    scores = load_file(folder / SCORES)
    return {method: scores[method].numpy() for method in methods}


def tokens(task: Task, split: Split) -> tuple[list[Tokens], list[Tokens]]:
    """Of the training and the dev examples."""
    model, tokenizer = task.base()
    context = getattr(model.config, "max_position_embeddings", None)
    return tokenise(tokenizer, split.train, context), tokenise(tokenizer, split.dev, context)


def _fine_tune(task: Task, split: Split, settings: training.Settings) -> list[Path]:
    history = train(task, split, settings)
    texts: dict[str, Any] = {"train": list(map(vars, split.train)), "dev": list(map(vars, split.dev))}
    counts = {part: sum(map(len, examples)) for part, examples in zip(texts, tokens(task, split), strict=True)}
    io.write_json(task.folder / "examples.json", texts | {"tokens": counts})
    io.write_csv(task.folder / "history.csv", history)
    adapters = sorted((task.folder / "checkpoints").glob("epoch-*/*"))
    return [*adapters, task.folder / "history.csv", task.folder / "examples.json"]


def _generate_answers(task: Task, split: Split, epoch: int) -> list[Path]:
    prompts, tokenizer = [example.prompt for example in split.val], task.base()[1]
    responses: dict[str, list[str]] = {"before": []}
    with task.adapted(epoch) as model:
        generate = partial(answers.generate, model, tokenizer, prompts, task.run.profile.max_new_tokens)
        if task.only is None:  # a part of a data set has the whole one's prompts, which are answered already
            with model.disable_adapter():
                responses["before"] = generate(progress=f"answers {task.name} before")
        with lora.merged(model):
            responses["after"] = generate(progress=f"answers {task.name} after")
    tokens = {"val": sum(map(len, tokenise(tokenizer, split.val)))}
    fields = {"val": list(map(vars, split.val)), "answers": responses, "tokens": tokens}
    io.write_json(task.folder / "responses.json", fields)
    return [task.folder / "responses.json"]


def _write_gradients(
    task: Task, examples: Parts, epoch: int, folder: Path, label: str, loss_on: LossOn = "response"
) -> list[Path]:
    shards: list[Path] = []
    with task.adapted(epoch) as model:
        parts = loss_batches(model, task.base()[1], examples, task.run.profile.gradient_batch, loss_on)
        for part, batches in parts.items():
            shards += gradient_store.write(folder / "gradients" / part, model, batches, f"{label} {part}")
    return shards
