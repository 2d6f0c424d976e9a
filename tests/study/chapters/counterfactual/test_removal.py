"""Removal on the tiny model, by hand; the sentences and cells that read it."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ifcore import loading, lora
from ifcore.batches import example_batches
from ifcore.losses import example_losses
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


def test_several_processes_find_what_one_does(finished):
    run, _ = finished
    tasks = [Task(run, "mixed_small", left_out=(row,)) for row in (4, 5, 4)]
    in_two = retraining.map_tasks(retraining.losses, tasks, "two", workers=2)
    (tasks[0].folder / "losses.json").unlink()
    in_one = retraining.map_tasks(retraining.losses, tasks, "one", workers=1)
    np.testing.assert_allclose(in_two, in_one, rtol=1e-5)
    assert np.array_equal(in_two[0], in_two[2]) and not np.array_equal(in_two[0], in_two[1])


@pytest.mark.parametrize(
    "parameters, cores, memory, workers",
    [(10, 8, 64, 1), (100, 8, 64, 8), (100, 2, 64, 2), (100, 8, 8, 3), (9000, 8, 64, 1)],
)
def test_processes_are_as_many_as_cores_and_memory_allow(monkeypatch, parameters, cores, memory, workers):
    """In millions of parameters, and GiB."""
    weight = SimpleNamespace(nbytes=4_000_000 * parameters)
    model = SimpleNamespace(parameters=lambda: [weight], num_parameters=lambda: 1_000_000 * parameters)
    monkeypatch.setattr(retraining.base_model, "device", lambda: "cpu")
    monkeypatch.setattr(retraining, "_cores", lambda: cores)
    monkeypatch.setattr(retraining.psutil, "virtual_memory", lambda: SimpleNamespace(total=memory * 2**30))
    assert retraining._workers(SimpleNamespace(base=lambda: (model, None))) == workers


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
