"""What retraining says of an attribution's scores, for each data set of the chapter: by `ifcore`'s bank and judge."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from math import ceil

import numpy as np
import pandas as pd
import torch

from ifcore import metrics
from ifcore.bank import Bank, Retraining
from ifcore.batches import example_batches
from ifcore.judge import ALONE, HALVES, REMOVAL, Judge
from ifcore.retraining_plan import DRAWS, WITHIN, Plan, Scores, make_plan
from study import datasets
from study.chapters.counterfactual import tuned, unrolled
from study.config import Run
from study.methods import CONTROLS, LEFT_OUT, NAMES, ORACLE, with_baselines, with_readings
from study.pipeline import attributions, steps
from study.pipeline.attributions import Attribution, quality
from study.pipeline.stages import cached_frame, full_key, recorded_digest
from study.pipeline.task import Task
from study.profile import Counterfactual
from study.schema import COLUMNS, ITSELF

REMOVED_FROM = "mixed_small"  # the paper's 20 harmful among 40
CAUSE = "harmful"
METRICS = {HALVES: "lds", ALONE: "loo", REMOVAL: "rise", tuned.TUNED: "lds_tuned", unrolled.FIRST: "lds_first"}
REMOVAL_SEEDS = 2  # whose mean rise is judged


def settings(run: Run) -> Counterfactual:
    """The chapter's part of the profile. Raises ValueError for a profile without it."""
    if run.profile.counterfactual is None:
        raise ValueError("counterfactual: none; its chapter needs sizes, as notebooks/profiles/laptop.yaml has them")
    return run.profile.counterfactual


def variations(run: Run) -> Iterator[tuple[str, Run]]:
    """Data set, and the run that has it in the chapter's sizes.

    Raises ValueError for a profile without the chapter, and where REMOVED_FROM is missing.
    """
    sizes = settings(run).datasets
    if REMOVED_FROM not in sizes:
        raise ValueError(f"counterfactual.datasets: {', '.join(sizes)}; add {REMOVED_FROM}, which is removed from")
    for dataset, counts in sizes.items():
        yield dataset, run if counts is None else run.varied("counterfactual", datasets={dataset: counts})


def plan(run: Run, dataset: str, labels: list[str]) -> Plan:
    """What is retrained of a data set; removals and single examples of REMOVED_FROM alone."""
    chosen, is_removed_from = settings(run), dataset == REMOVED_FROM
    removed, alone = (chosen.removed, chosen.left_out) if is_removed_from else (0, False)
    retrainings = chosen.retrainings.get(dataset, 1)
    return make_plan(labels, chosen.halves, chosen.again, removed, alone, False, run.seed, retrainings, REMOVAL_SEEDS)


def attributed(run: Run, dataset: str) -> Attribution:
    """A data set's attribution with the scores of all methods, readings and baselines that the chapter judges."""
    attribution = with_baselines(run, {dataset: attributions.compute_attribution(run, dataset)})[dataset]
    return with_readings(run, attribution)


def datamodels(run: Run, attribution: Attribution) -> pd.DataFrame:
    """Tidy rows of a data set's linear datamodeling score over class-stratified halves, metric `lds`: that of each
    method and baseline (against `nothing`), and how far each method is ahead of the others; of `ceiling`, that of
    another seed. Metric `lds_tuned`: of the methods with a damping, each at the one that ranks the other half of the
    halves best.

    Metric `coverage`: by labels, as elsewhere. Where examples are left out one at a time, their rises are among the
    scores, as `left_out`; metric `loo`: how well scores rank those. Metric `lds_first`: of the explained examples for
    which the fine-tune is `unrolled`.
    """
    return _cached(run, attribution, "lds", partial(_judge_halves, run, attribution))


def removal(run: Run, attribution: Attribution) -> pd.DataFrame:
    """Tidy rows, with how many were `removed`. Metric `rise`: by how much the mean loss of the explained examples rises
    without them, in nats per response token; against another, by how much more. `found`: the share of the removed that
    is of the class explained. The `oracle` removes of that class, at random."""
    return _cached(run, attribution, "removal", partial(_judge_removal, run, attribution))


def retrain(run: Run, dataset: str, number: int, batches: int) -> None:
    """One of so many batches of the fine-tunes that are known before any score."""
    with _judge(run, dataset) as judge:
        _retrain(judge, judge.plan.subsets()[number::batches], f"retraining {dataset}")


def retrain_removals(run: Run, dataset: str, number: int, batches: int) -> None:
    """One of so many batches of the fine-tunes that an attribution's scores decide."""
    scores = attributed(run, dataset).scores
    with _judge(run, dataset) as judge:
        removed = judge.plan.removed_by(removed_by(run, scores), CAUSE, run.seed)
        wholes = [Retraining(replicate=replicate) for replicate in range(1, REMOVAL_SEEDS)]
        _retrain(judge, [*wholes, *chain.from_iterable(removed.values())][number::batches], f"removal {dataset}")


def unroll(run: Run, dataset: str) -> None:
    """The derivative of a data set's fine-tune, where the profile asks for it."""
    unrolled.scores(run, attributions.compute_attribution(run, dataset), settings(run).unrolled)


def removed_by(run: Run, scores: Scores) -> Scores:
    """The scores of the profile's methods and baselines for removal."""
    return {name: scores[name] for name in settings(run).by or scores}


def passes(run: Run, size: int, epochs: int, dataset: str) -> tuple[float, float]:
    """Training examples that are gone through in what is known before any score, and in removals at most."""
    chosen = settings(run)
    times = chosen.retrainings.get(dataset, 1)
    known = (times * chosen.halves + chosen.again * (times == 1)) * ceil(size / 2) + size
    if dataset != REMOVED_FROM:
        return float(epochs * known), 0.0
    alone = size * size if chosen.left_out else 0
    removals = REMOVAL_SEEDS * len(chosen.by or NAMES) + 2 * DRAWS + REMOVAL_SEEDS - 1
    return float(epochs * (known + alone)), float(epochs * size * removals)


def _retrain(judge: Judge, retrainings: list[Retraining], label: str) -> None:
    """Make retrainings, and the losses after them by which they judge."""
    judge.bank.make(retrainings, label)
    for retraining in retrainings:
        judge.bank.losses(retraining, judge.val)  # kept beside it


@contextmanager
def _judge(run: Run, dataset: str) -> Iterator[Judge]:
    """The bank of a data set's fine-tune, in a folder that changed code leaves, with the plan and what is explained."""
    task = Task(run, dataset)
    split = attributions.examples(task)
    _, digest = full_key(steps.determined_by(task, split), Bank)
    with steps.fresh_adapter(task) as model:
        folder = task.folder / "counterfactual" / f"bank-{digest[:10]}"
        train, dev = steps.tokens(task, split)
        bank = Bank(folder, model, train, steps.training_settings(task), dev=dev)
        chosen = plan(run, dataset, [example.label for example in split.train])
        explained = example_batches(model, task.base()[1], split.val, run.profile.gradient_batch)
        requests = tuple(datasets.requests(dataset, split.val))
        yield Judge(bank, chosen, explained, torch.eye(len(split.val)).double(), requests)


def _judge_halves(run: Run, attribution: Attribution) -> pd.DataFrame:
    scores = dict(attribution.scores)
    with _judge(run, attribution.dataset) as judge:
        plan = judge.plan
        judge.bank.make(plan.subsets(), f"retraining {attribution.dataset}")
        if plan.alone:
            scores[LEFT_OUT] = (judge.losses(plan.left_out()) - judge.losses([Retraining()])).T
        judged = judge.halves(scores)
        judged += judge.alone(attribution.scores) if plan.alone else []
        judged += tuned.judge(judge, steps.gram(attribution.folder), run.profile.lissa_iterations)
        if count := settings(run).unrolled if attribution.dataset == REMOVED_FROM else 0:
            first = {name: matrix[:count] for name, matrix in scores.items()}
            first["unrolled"] = unrolled.scores(run, attribution, count)
            clusters = datasets.requests(attribution.dataset, attribution.val)[:count]
            only = replace(judge, combinations=judge.combinations[:count], clusters=clusters)
            judged += [(unrolled.FIRST, name, other, value) for _, name, other, value in only.halves(first)]
    coverage = quality(attribution.dataset, attribution, attribution.scores, {"coverage": metrics.coverage})
    labels = pd.DataFrame([(*row, ITSELF) for row in coverage], columns=[*COLUMNS, "against"])
    return pd.concat([_frame(attribution, judged), labels], ignore_index=True)


def _judge_removal(run: Run, attribution: Attribution) -> pd.DataFrame:
    causal = np.array([example.label == CAUSE for example in attribution.train], dtype=float)
    with _judge(run, attribution.dataset) as judge:
        scores = removed_by(run, attribution.scores)
        frame = _frame(attribution, judge.removal(scores, CAUSE, run.seed, "removal"))
        chosen = judge.plan.removed_by(scores, CAUSE, run.seed)
    shares = {name: np.mean([causal[list(one.left_out)].mean() for one in of]) for name, of in chosen.items()}
    sizes = len(attribution.train), len(attribution.val)
    alone = (None, None, *sizes, ITSELF)
    rows = [(attribution.dataset, _named(name), "found", share, *alone) for name, share in shares.items()]
    return pd.concat([frame, pd.DataFrame(rows, columns=frame.columns)]).assign(removed=judge.plan.removed)


def _frame(attribution: Attribution, judged) -> pd.DataFrame:
    """Tidy rows of what was judged; a baseline and the oracle are ahead of nobody."""
    sizes = len(attribution.train), len(attribution.val)
    rows = [
        (attribution.dataset, _named(method), METRICS[question], *vars(value).values(), *sizes, _named(other) or ITSELF)
        for question, method, other, value in judged
        if not other or method not in CONTROLS
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "against"])


def _named(name: str) -> str:
    return ORACLE if name == WITHIN else name


def _cached(run: Run, attribution: Attribution, name: str, build: partial) -> pd.DataFrame:
    """Under what the tables depend on, beside their code."""
    contents = {method: np.ascontiguousarray(matrix).tobytes() for method, matrix in attribution.scores.items()}
    scores = {method: hashlib.sha256(content).hexdigest() for method, content in contents.items()}
    key = {
        "of": recorded_digest(attribution.folder, "answers"),
        "scores": scores,
        "seed": run.seed,
        **settings(run).model_dump(exclude={"datasets"}),
    }
    return cached_frame(attribution.folder / "counterfactual", name, key, build)
