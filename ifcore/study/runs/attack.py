"""What the notebooks ask for: a data set attributed, the models attacked, a run checked before it starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ifcore import models
from ifcore.study import asr, judges, splits
from ifcore.study.artifact import Artifact, Attribution
from ifcore.study.config import Run
from ifcore.study.data import digits


@dataclass(frozen=True)
class Attack:
    """The answers of one model to harmful prompts. `success`: which of them, in the judge's view, comply."""

    model: str
    fine_tuned_on: str  # "nothing", "benign", "harmful" or "mixed"
    prompts: list[str]
    responses: list[str]
    success: list[bool]


def attribute(run: Run, dataset: str) -> Attribution:
    """Fine-tune on `dataset`, answer its prompts, take gradients and representations, and score; or load all that.

    A second process that asks for the same waits for the first. Raises ValueError, in one line, for a data set that
    the profile does not size and for anything wrong with the model or the data, before anything is written.
    """
    return Artifact(run, dataset).attribution()


def attributions(run: Run, names: Iterable[str] | None = None) -> dict[str, Attribution]:
    """Name -> attribution, for those of `names` (all, by default) that the profile sizes."""
    sized = run.profile.datasets
    return {name: attribute(run, name) for name in (sized if names is None else names) if name in sized}


def attack(run: Run) -> list[Attack]:
    """The attacks of Table 1: each model as it comes, and fine-tuned on the harmful, the benign, and all examples of
    mixed_small, answers that data set's validation prompts."""
    found = []
    for model in (run.profile.model, *run.profile.further_models):
        mixed = Artifact(run, "mixed_small", model=model).tuned()
        prompts = [example.prompt for example in mixed.val]
        answers = {"nothing": mixed.before}
        for label in ("benign", "harmful"):
            answers[label] = Artifact(run, "mixed_small", only=label, model=model).tuned().after
        answers["mixed"] = mixed.after
        for tuned_on, given in answers.items():
            success = asr.judge(run.profile.judge, prompts, given)
            found.append(Attack(model, tuned_on, prompts, given, success))
    return found


def check(run: Run) -> None:
    """Raise ValueError, in one line, for whatever can be seen to be wrong with the run before anything long starts."""
    for model in (run.profile.model, *run.profile.further_models):
        models.check(model)
    if run.profile.judge != "refusal":
        judges.check(run.profile.judge)
    if run.profile.generator:
        models.check(run.profile.generator)
    for dataset in run.profile.datasets:
        splits.asked(run, dataset)
    if run.profile.layers_on not in run.profile.datasets:
        raise ValueError(f"layers_on: {run.profile.layers_on!r}; choose from {', '.join(run.profile.datasets)}")
    if not (run.digits or "").startswith("hub:"):
        most, trained = max(*run.profile.linear.points, run.profile.linear.left_out), run.profile.two_layer.points
        for train, test in ((most, most), (trained, trained // 2)):
            digits.draw(run.digits, train, test, None, run.seed)
