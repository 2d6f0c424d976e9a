"""Removal on the tiny model, by hand; the sentences and cells that read it."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ifcore import loading, lora
from ifcore.batches import example_batches
from ifcore.losses import example_losses
from study import datasets
from study.chapters.counterfactual import datamodels, removal, show, subsets
from study.methods import with_baselines
from study.pipeline import attributions, retraining
from study.pipeline.task import Task
from tests.study.pipeline.test_attributions import make_run

ASKED = {"halves": 3, "again": 3, "removed": [3], "by": ["gradsim", "repsim"], "reseeded": 2, "left_out": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    counts = {"mixed_small": {"train": {"harmful": 3, "benign": 4}, "val": {"harmful": 2}}}
    run = make_run(tmp_path_factory.mktemp("finished"), datasets=counts, counterfactual=ASKED)
    attribution = attributions.compute_attribution(run, "mixed_small")
    return run, with_baselines(run, {"mixed_small": attribution})["mixed_small"]


def test_the_rise_is_the_loss_without_what_is_on_top_less_that_with_all(finished):
    run, attribution = finished
    frame = removal.measure(run, attribution)
    base, tokenizer = loading.load("random:tiny-llama")
    base = lora.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    adapted = lora.with_adapter(base, attribution.checkpoint)
    batches = example_batches(adapted, tokenizer, attribution.val, 2)
    with_all = np.mean([float(loss) for batch in batches for loss in example_losses(adapted, batch)])
    for method in ("gradsim", "repsim"):
        top = tuple(sorted(np.argsort(-attribution.scores[method].sum(0))[:3].tolist()))
        without = retraining.losses(Task(run, "mixed_small", left_out=top))
        rise = frame[(frame.method == method) & (frame.metric == "rise") & (frame.against == "nothing")]
        assert rise.value.item() == pytest.approx(without.mean() - with_all, abs=1e-5)
        share = frame[(frame.method == method) & (frame.metric == "found")].value.item()
        assert share == pytest.approx(sum(attribution.train[row].label == "harmful" for row in top) / 3)
    replicates = [retraining.losses(Task(run, "mixed_small", replicate=seed)).mean() for seed in (1, 2)]
    noise = frame[frame.metric == "noise"].value.item()
    assert noise == pytest.approx(np.std([with_all, *replicates], ddof=1), rel=1e-3) and noise > 0
    assert set(frame.method) == {"gradsim", "repsim", "random", "oracle", "retraining"}


def test_a_task_that_is_asked_for_twice_is_retrained_once(finished):
    run, _ = finished
    tasks = [Task(run, "mixed_small", left_out=(row,)) for row in (4, 5, 4)]
    computed = []
    results = retraining.map_tasks(lambda task: computed.append(task) or task.left_out, tasks, "three")
    assert results == [(4,), (5,), (4,)] and computed == tasks[:2]


def test_losses_are_those_of_the_examples_that_are_explained_now(finished, monkeypatch):
    task = Task(finished[0], "mixed_small", left_out=(4,))
    losses, split = retraining.losses(task), retraining.attributions.examples(task)
    others = datasets.Split(split.train, split.val[::-1], split.dev)
    monkeypatch.setattr(retraining.attributions, "examples", lambda _: others)
    np.testing.assert_allclose(retraining.losses(task), losses[::-1], rtol=1e-5)


def test_batches_share_out_the_removals_and_leave_what_the_table_asks_for(finished, monkeypatch):
    run, attribution = finished
    monkeypatch.setattr(removal, "compute_attribution", lambda *_: attribution)
    monkeypatch.setattr(removal, "with_baselines", lambda _, attributions: attributions)
    retrained = []
    monkeypatch.setattr(retraining, "behaviour", retrained.append)
    for number in range(3):
        removal.retrain(run, "mixed_small", number, 3)
    folders = {removal.without(run, "mixed_small", chosen).folder for chosen in removal.removals(run, attribution)}
    assert {task.folder for task in retrained} == folders and len(retrained) == len(folders)


def test_the_table_of_datamodels_has_the_ceiling_and_what_is_left_out_alone(finished):
    run, attribution = finished
    frame = datamodels.measure(run, attribution)
    assert {"gradsim", "repsim", "tfidf", "random", datamodels.CEILING} <= set(frame.method)
    halves = subsets.halves(7, 3, run.seed)
    losses = np.stack([retraining.losses(task) for task in subsets.tasks(run, "mixed_small", halves)])
    rows = frame[(frame.method == "gradsim") & (frame.metric == "lds") & (frame.against == "nothing")]
    sums = attribution.scores["gradsim"] @ halves.T
    correlations = [stats.spearmanr(*pair).statistic for pair in zip(sums, -losses.T, strict=True)]
    assert rows.value.item() == pytest.approx(np.mean(correlations))
    assert len(frame[frame.metric == "loo"]) == len(attribution.scores)


def table(rises, gaps, metric="rise", **more):
    """Rows of removal.csv or lds.csv: method -> its own estimate, (method, other) -> how far it is ahead."""
    rows = [(method, metric, *each, "nothing") for method, each in rises.items()]
    rows += [(method, metric, *each, other) for (method, other), each in gaps.items()]
    frame = pd.DataFrame(rows, columns=["method", "metric", "value", "ci_low", "ci_high", "against"])
    return frame.assign(dataset="mixed_small", n_train=40, n_val=20, removed=20, **more)


OWN = {"gradsim": (0.9, 0.8, 1.0), "repsim": (0.5, 0.4, 0.6), "tfidf": (0.4, 0.3, 0.5), "oracle": (1.0, 0.9, 1.1)}
AHEAD = {("gradsim", "tfidf"): (0.5, 0.4, 0.6), ("gradsim", "repsim"): (0.4, 0.3, 0.5)}
LEVEL = {("repsim", "tfidf"): (0.1, -0.1, 0.3), ("repsim", "gradsim"): (-0.4, -0.5, -0.3)}


def test_a_method_works_where_it_beats_every_control_in_both():
    rises, lds = table(OWN, AHEAD | LEVEL), table(OWN, AHEAD | LEVEL, "lds")
    assert "GradSim beat every control in all" in show.answer_text(rises, lds).text
    undecided = table(OWN, AHEAD | LEVEL | {("gradsim", "tfidf"): (0.5, -0.1, 1.1)}, "lds")
    assert "no method is ahead" in show.answer_text(rises, undecided).text
    assert "GradSim raises the loss by more than every control" in show.removal_text(rises).text
    assert "GradSim predicts retraining better than every control" in show.lds_text(lds).text


def test_over_seeds_the_interval_is_that_of_the_seeds():
    seeds = [table(OWN, AHEAD | LEVEL, seed=seed) for seed in range(3)]
    for frame, rise in zip(seeds, (0.9, 0.1, -0.4), strict=True):
        frame.loc[(frame.method == "gradsim") & (frame.against == "tfidf"), "value"] = rise
    assert "GradSim raises" not in show.removal_text(pd.concat(seeds)).text
