"""What the model loses without the training examples that a method ranks highest."""

from functools import partial

import numpy as np
import pandas as pd

from study import datasets, statistics
from study.chapters.counterfactual import subsets
from study.config import Run
from study.methods import BASELINES, with_baselines
from study.pipeline import retraining, steps
from study.pipeline.attributions import Attribution, compute_attribution
from study.pipeline.stages import cached_frame
from study.pipeline.task import Task
from study.schema import COLUMNS, ITSELF


def measure(run: Run, attribution: Attribution) -> pd.DataFrame:
    """Tidy rows, with how many were `removed` and `against` what.

    Metric `rise`: by how much the loss of the explained examples, which nothing is trained on, is higher after
    fine-tuning without the removed examples than with all, in nats per response token; against another method or
    baseline, by how much more, paired by explained example. `success`: the change in the share of answers that do what
    the fine-tune taught (for harmful requests, the attack's success rate). `found`: the share of the removed that are
    of the class explained. Random removal is the mean of its draws. Method `retraining`, metric `noise`: the standard
    deviation of the mean loss over fine-tunes on all examples from different seeds.
    """
    folder = attribution.folder / "counterfactual"
    return cached_frame(folder, "removal", subsets.stage_key(run, attribution), partial(_measure, run, attribution))


def removals(run: Run, attribution: Attribution) -> list[subsets.Removal]:
    """What the profile's methods and baselines, chance and the oracle remove."""
    settings = subsets.settings(run)
    scores = {name: attribution.scores[name] for name in settings.by or attribution.scores}
    return subsets.removals(scores, attribution.train, settings.removed, run.seed)


def without(run: Run, dataset: str, removal: subsets.Removal) -> Task:
    """The fine-tune on what a removal leaves."""
    return Task(run, dataset, left_out=removal.left_out)


def retrain(run: Run, dataset: str, number: int, batches: int) -> None:
    """One of so many batches of these fine-tunes, each distinct one in one batch."""
    attribution = with_baselines(run, {dataset: compute_attribution(run, dataset)})[dataset]
    distinct = {task.folder: task for task in (without(run, dataset, chosen) for chosen in removals(run, attribution))}
    for task in list(distinct.values())[number::batches]:
        retraining.behaviour(task)


def _measure(run: Run, attribution: Attribution) -> pd.DataFrame:
    dataset, sizes = attribution.dataset, (len(attribution.train), len(attribution.val))
    settings, clusters = subsets.settings(run), datasets.requests(dataset, attribution.val)
    chosen = removals(run, attribution)
    tasks = [without(run, dataset, removal) for removal in chosen]
    results = retraining.map_tasks(retraining.behaviour, tasks, f"removal {dataset}")
    before = steps.stores(attribution.folder)[1].beside("losses").double().numpy()
    success = _success(attribution, attribution.after)
    causal = np.array([example.label == subsets.CAUSE for example in attribution.train], dtype=float)
    moves: dict[int, dict[str, list]] = {count: {} for count in settings.removed}  # of each method, those of its draws
    for removal, (losses, answers) in zip(chosen, results, strict=True):
        move = losses - before, _success(attribution, answers) - success, causal[list(removal.left_out)]
        moves[removal.removed].setdefault(removal.method, []).append(move)
    rows: list[tuple] = []
    for count, by_method in moves.items():
        rises = {}
        for method, draws in by_method.items():
            rises[method], gain, causes = (np.mean(values, axis=0) for values in zip(*draws, strict=True))
            rows.append((method, "rise", *statistics.mean_change(rises[method], clusters), ITSELF, count))
            rows.append((method, "success", *statistics.mean_change(gain, clusters), ITSELF, count))
            rows.append((method, "found", causes.mean(), None, None, ITSELF, count))
        for method in (name for name in rises if name not in BASELINES):
            for other in (name for name in rises if name not in (method, subsets.ORACLE)):
                lead = statistics.mean_change(rises[method] - rises[other], clusters)
                rows.append((method, "rise", *lead, other, count))
    replicates = retraining.map_tasks(retraining.losses, subsets.reseeded(run, dataset), f"removal {dataset} reseeded")
    noise = float(np.std([before.mean(), *(losses.mean() for losses in replicates)], ddof=1))
    rows.append(("retraining", "noise", noise, None, None, ITSELF, 0))
    frame = [(dataset, *row[:5], *sizes, *row[5:]) for row in rows]
    return pd.DataFrame(frame, columns=[*COLUMNS, "against", "removed"])


def _success(attribution: Attribution, answers: list[str]) -> np.ndarray:
    """Which answers do what the fine-tune taught, [M]."""
    correct = datasets.family(attribution.dataset).correct
    return np.array([correct(*pair) for pair in zip(attribution.val, answers, strict=True)], dtype=float)
