"""The attacks of Table 1: each model, as it comes and fine-tuned on parts of a mixture, is asked for harm."""

from __future__ import annotations

from dataclasses import dataclass

from study.config import Run
from study.pipeline import judging
from study.pipeline.attributions import tune
from study.pipeline.task import Task

PARTS = {"benign": "benign", "harmful": "harmful", "mixed": None}  # a model of Table 1 -> its class of mixed_small


@dataclass(frozen=True)
class Attack:
    """The answers of one model to harmful prompts. `success`: which of them, in the judge's view, comply."""

    model: str
    fine_tuned_on: str  # "nothing", "benign", "harmful" or "mixed"
    prompts: list[str]
    responses: list[str]
    success: list[bool]


def run_attacks(run: Run) -> list[Attack]:
    """The profile's model, aligned where it asks for that, and its further models as they come: each untouched and
    fine-tuned on parts of mixed_small, in equally many steps, answers that data set's validation prompts."""
    found = attack_model(run, None)
    for model in run.profile.further_models:
        found += attack_model(run, model)
    return found


def attack_model(run: Run, model: str | None) -> list[Attack]:
    """The attacks on the profile's model (None), or on a further one."""
    mixed = tune(Task(run, "mixed_small", model=model))
    prompts = [example.prompt for example in mixed.val]
    answers = {"nothing": mixed.before}
    for name, only in PARTS.items():
        answers[name] = tune(Task(run, "mixed_small", only=only, model=model)).after
    name = model or run.profile.model + (", aligned" if run.profile.alignment else "")
    return [Attack(name, of, prompts, said, judging.judge(run.judge, prompts, said)) for of, said in answers.items()]
