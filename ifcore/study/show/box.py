"""The box that opens a chapter: what ran, on what, for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ifcore.study.config import Run
from ifcore.study.runs.artifact import Tuned
from ifcore.study.show.names import DATASETS
from ifcore.study.show.provenance import machine, made_by
from ifcore.study.show.table import Prose


def what_ran(run: Run, tuned: Mapping[str, Tuned]) -> Prose:
    """The box that opens a chapter: model, sizes, seed, machine, minutes."""
    first = next(iter(tuned.values()))
    stages = dict.fromkeys(stage for found in tuned.values() for stage in found.seconds)
    minutes = {stage: sum(found.seconds.get(stage, 0) for found in tuned.values()) / 60 for stage in stages}
    lines = [
        f"Model: `{run.profile.model}` in {first.precision}, LoRA of rank {run.profile.lora_rank} on query and value",
        *(
            f"{DATASETS[name]}: {len(found.train)} training and {len(found.val)} validation examples "
            f"({found.tokens['train']:,} and {found.tokens['val']:,} tokens), scored after epoch {found.epoch}"
            for name, found in tuned.items()
        ),
        f"Settings: learning rate {run.profile.learning_rate:g}, batches of {run.profile.batch_size}, "
        f"damping {run.profile.damping:g}, {run.profile.lissa_iterations} LiSSA iterations",
        f"Machine: {machine(first.device)}",
        f"Minutes: {sum(minutes.values()):.1f} ({', '.join(f'{stage} {took:.1f}' for stage, took in minutes.items())})",
    ]
    return _box(run, lines)


def linear_box(run: Run) -> Prose:
    """The box of section 4.1: the linear models' data and sizes."""
    sizes, source = run.profile.linear, run.profile.digits_source
    images = "MNIST" if source else "scikit-learn's handwritten digits, 8 × 8 pixels"
    lines = [
        f"Linear models: softmax regression on {images}, weight decay {sizes.decay:g}, float64",
        f"Errors: {_listed(sizes.points)} points, {_listed(sizes.parameters)} parameters, {sizes.draws} draws of each",
        f"Retraining: without each of {sizes.left_out} points",
        f"Language model: the fine-tunes of section 3, `{run.profile.model}`",
        f"Machine: {machine('cpu')}",
    ]
    return _box(run, lines)


def _box(run: Run, lines: list[str]) -> Prose:
    lines = [*lines, f"Profile `{run.profile.name}`, seed {run.seed}", f"Made by {made_by(run.root)}"]
    return Prose("\n".join(["```{admonition} What ran", *(f"- {line}" for line in lines), "```"]))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)
