"""What the model loses without the training examples that a method ranks highest."""

from functools import partial

import numpy as np
import pandas as pd

from study import datasets, statistics
from study.chapters.counterfactual import subsets
from study.config import Run
from study.methods import BASELINES
from study.pipeline import retraining, steps
from study.pipeline.attributions import Attribution
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


def _measure(run: Run, attribution: Attribution) -> pd.DataFrame:
    dataset, sizes = attribution.dataset, (len(attribution.train), len(attribution.val))
    settings, clusters = subsets.settings(run), datasets.requests(dataset, attribution.val)
    scores = {name: attribution.scores[name] for name in settings.by or attribution.scores}
    removals = subsets.removals(scores, attribution.train, settings.removed, run.seed)
    tasks = [Task(run, dataset, left_out=removal.left_out) for removal in removals]
    results = retraining.map_tasks(retraining.behaviour, tasks, f"removal {dataset}")
    before = steps.stores(attribution.folder)[1].beside("losses").double().numpy()
    success = _success(attribution, attribution.after)
    causal = np.array([example.label == subsets.CAUSE for example in attribution.train], dtype=float)
    moves: dict[int, dict[str, list]] = {count: {} for count in settings.removed}  # of each method, those of its draws
    for removal, (losses, answers) in zip(removals, results, strict=True):
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
    reseeded = [Task(run, dataset, replicate=seed) for seed in range(1, settings.reseeded + 1)]
    replicates = retraining.map_tasks(retraining.losses, reseeded, f"removal {dataset} reseeded")
    noise = float(np.std([before.mean(), *(losses.mean() for losses in replicates)], ddof=1))
    rows.append(("retraining", "noise", noise, None, None, ITSELF, 0))
    frame = [(dataset, *row[:5], *sizes, *row[5:]) for row in rows]
    return pd.DataFrame(frame, columns=[*COLUMNS, "against", "removed"])


def _success(attribution: Attribution, answers: list[str]) -> np.ndarray:
    """Which answers do what the fine-tune taught, [M]."""
    correct = datasets.family(attribution.dataset).correct
    return np.array([correct(*pair) for pair in zip(attribution.val, answers, strict=True)], dtype=float)
