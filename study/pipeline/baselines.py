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

from ifcore import io, lora, representations
from study import selection
from study.config import Run
from study.pipeline import checkpoints, steps
from study.pipeline.attributions import Attribution
from study.pipeline.stages import Stage, locked_folder
from study.pipeline.task import Task

BASELINES = ("repsim_before", "tfidf", "tfidf_response", "bm25", "random")
_DIGITS = 9  # scores that are equal but for rounding are ties


def baseline_scores(run: Run, found: Attribution) -> dict[str, np.ndarray]:
    """Control -> scores [M, N]: RepSim on the model before fine-tuning, the words of the prompts, and chance.

    `tfidf_response` sees the words of the responses as well, as gradients do.
    """
    train, val = ([example.prompt for example in part] for part in (found.train, found.val))
    whole = ([f"{example.prompt} {example.response}" for example in part] for part in (found.train, found.val))
    return {
        "repsim_before": repsim_before(run, found),
        "tfidf": tfidf(train, val),
        "tfidf_response": tfidf(*whole),
        "bm25": bm25(train, val),
        "random": np.random.default_rng([run.seed, *found.dataset.encode()]).random((len(val), len(train))),
    }


def repsim_before(run: Run, found: Attribution) -> np.ndarray:
    """RepSim of the hidden states of the model that fine-tuning started from, [M, N].

    A pass over the prompts, but where a data set's checkpoints are followed: it is RepSim at the first of them.
    """
    if found.dataset in selection.FOLLOWED and "repsim" in run.profile.methods:
        return checkpoints.scores(run, found, 0, ("repsim",))["repsim"]
    task, place = Task(run, found.dataset), found.folder / "before"
    key = steps.explained(task, found) | {"batch": run.profile.gradient_batch}
    with locked_folder(task.folder):
        Stage(place, "states", key).make(partial(_see, task, found, place))
    states = load_file(place / "states.safetensors")
    return representations.repsim(states["train"], states["val"]).numpy()


def tfidf(train: Sequence[str], val: Sequence[str]) -> np.ndarray:
    """Cosine of the texts' TF-IDF vectors, with scikit-learn's defaults, its weights from `train`: [M, N].

    A text without any word that `train` has is like none.
    """
    if not any(map(_words, train)):
        return np.zeros((len(val), len(train)))
    vectors = TfidfVectorizer()
    known = vectors.fit_transform(train)
    return (vectors.transform(val) @ known.T).toarray().round(_DIGITS)


def bm25(train: Sequence[str], val: Sequence[str]) -> np.ndarray:
    """Okapi BM25, in Lucene's form with k1 = 1.5 and b = 0.75, of each text of `val` against the texts `train`: [M, N].

    The words are those of `tfidf`. A query without any word that `train` has is like none.
    """
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    texts, scores = list(map(_words, train)), np.zeros((len(val), len(train)))
    known = {word for text in texts for word in text}
    if known:
        index = bm25s.BM25(k1=1.5, b=0.75)
        index.index(texts, show_progress=False)
        for row, text in enumerate(val):
            if query := [word for word in _words(text) if word in known]:
                scores[row] = index.get_scores(query)
    return scores.round(_DIGITS)


_words = TfidfVectorizer().build_analyzer()


def _see(task: Task, found: Attribution, place: Path) -> list[Path]:
    model, tokenizer = task.base()
    states = {}
    for part in ("train", "val"):
        batches = lora.example_batches(model, tokenizer, getattr(found, part), task.run.profile.gradient_batch)
        states[part] = representations.representations(model, batches, f"states before {task.name} {part}")
    io.write_tensors(place / "states.safetensors", states)
    return [place / "states.safetensors"]
