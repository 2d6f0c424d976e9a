"""Controls: scores that cannot know of influence, as they never see the fine-tuned model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import bm25s
import numpy as np
from safetensors.torch import load_file
from sklearn.feature_extraction.text import TfidfVectorizer

from ifcore import files, models, representations
from ifcore.study.config import Run
from ifcore.study.runs import steps
from ifcore.study.runs.artifact import Attribution
from ifcore.study.runs.stages import Stage, at_work
from ifcore.study.runs.task import Task

CONTROLS = ("repsim_before", "tfidf", "bm25", "random")


def controls(run: Run, found: Attribution) -> dict[str, np.ndarray]:
    """Control -> scores [M, N]: RepSim on the model before fine-tuning, the words of the prompts, and chance."""
    train, val = ([example.prompt for example in part] for part in (found.train, found.val))
    return {
        "repsim_before": repsim_before(run, found),
        "tfidf": tfidf(train, val),
        "bm25": bm25(train, val),
        "random": np.random.default_rng([run.seed, *found.dataset.encode()]).random((len(val), len(train))),
    }


def repsim_before(run: Run, found: Attribution) -> np.ndarray:
    """RepSim of the hidden states of the model that fine-tuning started from, [M, N]; a pass over the prompts."""
    task, place = Task(run, found.dataset), found.folder / "before"
    with at_work(task.folder):
        Stage(place, "states", steps.explained(task, found)).make(partial(_see, task, found, place))
    states = load_file(place / "states.safetensors")
    return representations.repsim(states["train"], states["val"]).numpy()


def tfidf(train: Sequence[str], val: Sequence[str]) -> np.ndarray:
    """Cosine of the texts' TF-IDF vectors, with scikit-learn's defaults, its weights from `train`: [M, N]."""
    vectors = TfidfVectorizer()
    known = vectors.fit_transform(train)
    return (vectors.transform(val) @ known.T).toarray()


def bm25(train: Sequence[str], val: Sequence[str]) -> np.ndarray:
    """Okapi BM25 of each text of `val`, as a query, against the texts `train`, with Lucene's constants: [M, N]."""
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    words = partial(bm25s.tokenize, stopwords=None, return_ids=False, show_progress=False)
    index = bm25s.BM25()
    index.index(words(list(train)), show_progress=False)
    return np.stack([index.get_scores(query) for query in words(list(val))]).astype(float)


def _see(task: Task, found: Attribution, place: Path) -> list[Path]:
    model, tokenizer = task.base()
    states = {}
    for part in ("train", "val"):
        batches = models.example_batches(model, tokenizer, getattr(found, part), task.run.profile.gradient_batch)
        states[part] = representations.representations(model, batches, f"states before {task.name} {part}")
    files.write_tensors(place / "states.safetensors", states)
    return [place / "states.safetensors"]
