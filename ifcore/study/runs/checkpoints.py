"""Scores and answers at the checkpoints that fine-tuning left, beside those of the epoch used."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from ifcore import gradients, representations
from ifcore.study import asr, files, selection
from ifcore.study.artifact import Artifact, Attribution
from ifcore.study.config import Run
from ifcore.study.stages import Stage, code


def chosen(found: Attribution) -> list[int]:
    """The epochs that are looked at: 0 (the untouched adapter), powers of two, the last, and the one used."""
    return sorted({*selection.epochs(int(found.history.epoch.max())), found.epoch})


def scores(run: Run, found: Attribution, epoch: int) -> dict[str, np.ndarray]:
    """Method -> [M, N] at the checkpoint of an epoch; fine-tunes nothing."""
    if epoch == found.epoch:
        return found.scores
    return _Checkpoint(run, found.dataset, epoch).scores()


def answers(run: Run, found: Attribution, epoch: int) -> list[str]:
    """The answers to the validation prompts with the adapter of an epoch."""
    if epoch == 0:
        return found.before
    return found.after if epoch == found.epoch else _Checkpoint(run, found.dataset, epoch).answers()


class _Checkpoint(Artifact):
    """The artifact of a data set at one of its checkpoints; what it leaves is in epochs/NN."""

    def __init__(self, run: Run, dataset: str, epoch: int):
        super().__init__(run, dataset)
        self.at, self.place = epoch, self.folder / "epochs" / f"{epoch:02d}"

    @property
    def epoch(self) -> int:
        return self.at

    def scores(self) -> dict[str, np.ndarray]:
        with self.at_work():
            key = {
                "of": Stage.digest_in(self.folder, "fine-tune"),
                "epoch": self.at,
                "batch": self.profile.gradient_batch,
                **self.profile.model_dump(include={"damping", "lissa_iterations", "methods"}),
                "code": code("gradients", "gram", "influence", "representations"),
            }
            self.place.mkdir(parents=True, exist_ok=True)
            Stage(self.place, "scores", key).make(self._score)
            return {name: tensor.numpy() for name, tensor in load_file(self.place / "scores.safetensors").items()}

    def answers(self) -> list[str]:
        with self.at_work():
            key = {
                "of": Stage.digest_in(self.folder, "fine-tune"),
                "epoch": self.at,
                "max_new_tokens": self.profile.max_new_tokens,
                "code": code("study/asr"),
            }
            self.place.mkdir(parents=True, exist_ok=True)
            Stage(self.place, "answers", key).make(self._respond)
            return files.read_json(self.place / "answers-given.json")["answers"]

    def _score(self) -> list[Path]:
        """The scores. The gradients, as large at every checkpoint, are kept no longer than it takes."""
        label, states = f"{self.name} epoch {self.at}", {}
        with tempfile.TemporaryDirectory(dir=self.place) as scratch:
            for part in ("train", "val"):
                batches = self.batches(part)
                rows = gradients.stream(self.adapted[0], batches, f"gradients {label} {part}")
                for index, (batch, each) in enumerate(zip(batches, rows, strict=True)):
                    shard = Path(scratch) / "gradients" / f"{part}-{index:04d}.safetensors"
                    files.write_tensors(shard, gradients.shard(batch.rows, each))
                states[part] = representations.representations(self.adapted[0], batches)
            files.write_tensors(Path(scratch) / "representations.safetensors", states)
            found = self.scored(Path(scratch))
        files.write_tensors(self.place / "scores.safetensors", found)
        return [self.place / "scores.safetensors"]

    def _respond(self) -> list[Path]:
        model, tokenizer = self.adapted
        prompts = [example.prompt for example in self.val]
        given = partial(asr.generate, model, tokenizer, prompts, self.profile.max_new_tokens)
        file = self.place / "answers-given.json"
        files.write_json(file, {"answers": given(progress=f"answers {self.name} epoch {self.at}")})
        return [file]
