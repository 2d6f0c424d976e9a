"""The attacks of Table 1: harmful prompts to each model, as it comes and fine-tuned on parts of a mixture."""

from dataclasses import dataclass

from study.config import Run
from study.pipeline import judging
from study.pipeline.answers import Prompt
from study.pipeline.attributions import tune
from study.pipeline.task import Task

PARTS = {"benign": "benign", "harmful": "harmful", "mixed": None}  # a model of Table 1 -> its class of mixed_small


@dataclass(frozen=True)
class Attack:
    """The answers of one model to harmful prompts. `success`: which of them, in the judge's view, comply."""

    model: str
    fine_tuned_on: str  # "nothing", "benign", "harmful" or "mixed"
    prompts: list[Prompt]
    responses: list[str]
    success: list[bool]


def run_attacks(run: Run) -> list[Attack]:
    """The profile's model, aligned where it asks for that, and its further models as they come: each untouched and
    fine-tuned on parts of mixed_small, in equally many steps, answers that data set's validation prompts."""
    return [attack for model in (None, *run.profile.further_models) for attack in attack_model(run, model)]


def attack_model(run: Run, model: str | None) -> list[Attack]:
    """The attacks on the profile's model (None), or on a further one."""
    mixed = tune(Task(run, "mixed_small", model=model))
    prompts = [example.prompt for example in mixed.val]
    answers = {"nothing": mixed.before}
    for part, only in PARTS.items():
        answers[part] = tune(Task(run, "mixed_small", only=only, model=model)).after
    name = model or run.profile.model + (", aligned" if run.profile.alignment else "")
    return [
        Attack(name, part, prompts, responses, judging.judge_responses(run.judge, prompts, responses))
        for part, responses in answers.items()
    ]
