"""What the model loses without the training examples that a method ranks highest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

import numpy as np
import pandas as pd
from safetensors.torch import load_file

from study import datasets, statistics
from study.chapters.counterfactual import sets
from study.config import Run
from study.pipeline import retraining
from study.pipeline.attributions import Attribution
from study.pipeline.baselines import BASELINES
from study.pipeline.stages import frame
from study.pipeline.task import Task
from study.report.names import COLUMNS

ITSELF, RETRAINING = "nothing", "retraining"


def measured(run: Run, found: Attribution) -> pd.DataFrame:
    """Tidy rows, with how many were `removed` and `against` what.

    Metric `rise`: by how much the loss of the explained examples, which nothing is trained on, is higher after
    fine-tuning without the removed examples than with all, in nats per response token; against another method or
    control, by how much more, paired by explained example. `success`: the change in the share of answers that do what
    the fine-tune taught (for harmful requests, the attack's success rate). `found`: the share of the removed that are
    of the class explained. Random removal is the mean of its draws. Method `retraining`, metric `noise`: the standard
    deviation of the mean loss over fine-tunes on all examples from different seeds.
    """
    place = found.folder / "counterfactual"
    return frame(place, "removal", sets.determined_by(run, found), partial(_measured, run, found))


def _measured(run: Run, found: Attribution) -> pd.DataFrame:
    asked = run.profile.counterfactual
    by = found.scores if asked.by is None else {name: found.scores[name] for name in asked.by}
    chosen = sets.removals(by, found.train, asked.removed, run.seed)
    tasks = [Task(run, found.dataset, left_out=each.left_out) for each in chosen]
    after = retraining.map_tasks(retraining.behaviour, tasks, f"removal {found.dataset}")
    before = load_file(found.folder / "representations.safetensors")["val.losses"].double().numpy()
    clusters, sizes = datasets.requests(found.dataset, found.val), (len(found.train), len(found.val))
    success = _success(found, found.after)
    rows = []
    for count in asked.removed:
        of = [(each, *result) for each, result in zip(chosen, after, strict=True) if each.removed == count]
        rises = _by_method({(each.method, each.draw): lost - before for each, lost, _ in of})
        gained = _by_method({(each.method, each.draw): _success(found, said) - success for each, _, said in of})
        causes = _by_method({(each.method, each.draw): _caused(found, each) for each, _, _ in of})
        for method, rise in rises.items():
            rows.append((method, "rise", *statistics.mean_change(rise, clusters), ITSELF, count))
            change = statistics.mean_change(gained[method], clusters)
            rows.append((method, "success", *change, ITSELF, count))
            rows.append((method, "found", causes[method].mean(), None, None, ITSELF, count))
        for method, against in _pairs(rises):
            gap = statistics.mean_change(rises[method] - rises[against], clusters)
            rows.append((method, "rise", *gap, against, count))
    noise = _noise(run, found, before)
    rows.append((RETRAINING, "noise", noise, None, None, ITSELF, 0))
    whole = [(found.dataset, *row[:5], *sizes, *row[5:]) for row in rows]
    return pd.DataFrame(whole, columns=[*COLUMNS, "against", "removed"])


def _pairs(rises: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    for method in (name for name in rises if name not in BASELINES):
        for against in rises:
            if against not in (method, sets.ORACLE):
                yield method, against


def _by_method(values: Mapping[tuple[str, int], np.ndarray]) -> dict[str, np.ndarray]:
    """The mean over draws of each method."""
    names = dict.fromkeys(method for method, _ in values)
    return {name: np.mean([each for (method, _), each in values.items() if method == name], axis=0) for name in names}


def _success(found: Attribution, said: list[str]) -> np.ndarray:
    """Which answers do what the fine-tune taught, [M]."""
    correct = datasets.family(found.dataset).correct
    return np.array([correct(*pair) for pair in zip(found.val, said, strict=True)], dtype=float)


def _caused(found: Attribution, removal: sets.Removal) -> np.ndarray:
    return np.array([found.train[row].label == sets.CAUSE for row in removal.left_out], dtype=float)


def _noise(run: Run, found: Attribution, before: np.ndarray) -> float:
    """The standard deviation of the mean loss over fine-tunes on all examples, the run's own among them."""
    tasks = [Task(run, found.dataset, again=again) for again in range(1, run.profile.counterfactual.reseeded + 1)]
    again = retraining.map_tasks(retraining.losses, tasks, f"removal {found.dataset} reseeded")
    means = [before.mean(), *(each.mean() for each in again)]
    return float(np.std(means, ddof=1))
