"""The chapter's tables on the tiny model, by hand; the sentences and cells that read them."""

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from ifcore import training
from ifcore.batches import example_batches
from ifcore.judge import CEILING
from ifcore.losses import evaluate_losses
from study.chapters.counterfactual import measure, show, tuned
from study.methods import with_baselines
from study.pipeline import attributions, steps
from study.pipeline.task import Task
from tests.study.pipeline.test_attributions import make_run

ASKED = {"halves": 4, "again": 4, "removed": 2, "by": ["gradsim", "repsim"], "left_out": True}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    counts = {"mixed_small": {"train": {"harmful": 3, "benign": 4}, "val": {"harmful": 2}}}
    run = make_run(tmp_path_factory.mktemp("finished"), datasets=counts, counterfactual=ASKED)
    attribution = attributions.compute_attribution(run, "mixed_small")
    return run, with_baselines(run, {"mixed_small": attribution})["mixed_small"]


@pytest.fixture(scope="module")
def losses_without(finished, tmp_path_factory):
    """The losses of the explained examples after the fine-tune without some, by the training loop itself."""
    run, attribution = finished
    task = Task(run, "mixed_small")
    split = attributions.examples(task)

    @cache
    def compute(left_out, replicate=0):
        seed = task.seed + 1_000_003 * replicate
        folder, settings = tmp_path_factory.mktemp("by-hand"), replace(steps.training_settings(task), seed=seed)
        weights = [float(place not in left_out) for place in range(7)] if left_out else None
        with steps.fresh_adapter(Task(run, "mixed_small", replicate=replicate)) as model:
            tokens, same = steps.tokens(task, split)[0], len(left_out) < 3.5
            training.finetune(model, tokens, [], folder, settings, None, weights, bool(left_out) and same)
            return evaluate_losses(model, example_batches(model, task.base()[1], split.val, 2)).numpy()

    return compute


def test_the_rise_is_the_loss_without_what_is_on_top_less_that_with_all(finished, losses_without):
    run, attribution = finished
    frame = measure.removal(run, attribution)
    for method in ("gradsim", "repsim"):
        top = tuple(sorted(np.argsort(-attribution.scores[method].sum(0), kind="stable")[:2].tolist()))
        rise = frame[(frame.method == method) & (frame.metric == "rise") & (frame.against == "nothing")]
        rises = [losses_without(top, seed).mean() - losses_without((), seed).mean() for seed in range(2)]
        assert rise.value.item() == pytest.approx(np.mean(rises), abs=1e-5)  # the mean of two seeds
        share = frame[(frame.method == method) & (frame.metric == "found")].value.item()
        assert share == pytest.approx(sum(attribution.train[row].label == "harmful" for row in top) / 2)
    assert frame[(frame.method == "oracle") & (frame.metric == "found")].value.item() == 1
    assert set(frame.method) == {"gradsim", "repsim", "random", "oracle"} and set(frame.removed) == {2}


def test_the_table_of_datamodels_has_the_ceiling_and_what_is_left_out_alone(finished, losses_without):
    run, attribution = finished
    frame = measure.datamodels(run, attribution)
    assert {"gradsim", "repsim", "tfidf", "random", CEILING} <= set(frame.method)
    halves = measure.plan(run, "mixed_small", [example.label for example in attribution.train]).halves
    labels = np.array([example.label == "harmful" for example in attribution.train])
    assert set((halves & labels).sum(1)) == {1} and set((halves & ~labels).sum(1)) == {2}
    losses = np.stack([losses_without(tuple(np.flatnonzero(~mask))) for mask in halves])
    rows = frame[(frame.method == "gradsim") & (frame.metric == "lds") & (frame.against == "nothing")]
    sums = attribution.scores["gradsim"] @ halves.T
    correlations = [stats.spearmanr(*pair).statistic for pair in zip(sums, -losses.T, strict=True)]
    assert rows.value.item() == pytest.approx(np.mean(correlations))
    again = np.stack([losses_without(tuple(np.flatnonzero(~mask)), 1) for mask in halves])
    ceiling = [stats.spearmanr(*pair).statistic for pair in zip(again.T, losses.T, strict=True)]
    assert frame[frame.method == CEILING].value.item() == pytest.approx(np.mean(ceiling))
    assert len(frame[(frame.metric == "loo") & (frame.against == "nothing")]) == len(attribution.scores)
    rises = np.stack([losses_without((row,)) - losses_without(()) for row in range(7)], axis=1)  # [M, N]
    correlations = [stats.spearmanr(*pair).statistic for pair in zip(rises @ halves.T, -losses.T, strict=True)]
    left_out = frame[(frame.method == "left_out") & (frame.metric == "lds") & (frame.against == "nothing")]
    assert left_out.value.item() == pytest.approx(np.mean(correlations), abs=1e-6)
    assert set(frame[frame.metric == "coverage"].method) == set(attribution.scores)
    leaders = set(frame[frame.against != "nothing"].method)
    assert "gradsim" in leaders and "tfidf" not in leaders  # a control is ahead of nobody


def test_batches_share_out_the_retraining_and_leave_what_the_tables_ask_for(finished, monkeypatch):
    run, attribution = finished
    monkeypatch.setattr(measure, "attributed", lambda *_: attribution)
    made = []
    monkeypatch.setattr(
        measure.Bank, "make", lambda bank, retrainings, *_: made.append([one.name for one in retrainings])
    )
    for number in range(3):
        measure.retrain(run, "mixed_small", number, 3)
        measure.retrain_removals(run, "mixed_small", number, 3)
    known, decided = sum(made[::2], []), sum(made[1::2], [])
    assert len(known) == 1 + 4 + 4 + 7 == len(set(known)) and len(decided) == 1 + 2 * 2 + 4 + 4
    monkeypatch.undo()
    (place,) = (Task(run, "mixed_small").folder / "counterfactual").glob("bank-*")
    assert {*known, *decided} <= {path.name for path in place.iterdir()}


def table(rises, gaps, metric="rise", **more):
    """Rows of removal.csv or lds.csv: method -> its own estimate, (method, other) -> how far it is ahead."""
    rows = [(method, metric, *each, "nothing") for method, each in rises.items()]
    rows += [(method, metric, *each, other) for (method, other), each in gaps.items()]
    frame = pd.DataFrame(rows, columns=["method", "metric", "value", "ci_low", "ci_high", "against"])
    return frame.assign(dataset="mixed_small", n_train=40, n_val=20, removed=10, **more)


OWN = {"gradsim": (0.9, 0.8, 1.0), "repsim": (0.5, 0.4, 0.6), "tfidf": (0.4, 0.3, 0.5), "oracle": (1.0, 0.9, 1.1)}
AHEAD = {("gradsim", "tfidf"): (0.5, 0.4, 0.6), ("gradsim", "repsim"): (0.4, 0.3, 0.5)}
LEVEL = {("repsim", "tfidf"): (0.1, -0.1, 0.3), ("repsim", "gradsim"): (-0.4, -0.5, -0.3)}


def test_the_sentence_says_whether_the_named_method_is_ahead():
    own = OWN | {name: (0.4, 0.3, 0.5) for name in ("words_response", CEILING)}
    ahead = AHEAD | LEVEL | {("gradsim", "words_response"): (0.5, 0.4, 0.6), ("gradsim", "oracle"): (-0.1, -0.2, 0.1)}
    rises, lds = table(own, ahead), table(own, ahead, "lds")
    text = show.judged_text("gradsim", lds, rises).text
    assert "GradSim, named beforehand, is ahead of RepSim and ahead of TF-IDF" in text
    assert "nats: it is ahead of RepSim's choice and no different from random harmful" in text
    behind = table(own, ahead | {("gradsim", "repsim"): (-0.4, -0.5, -0.3)}, "lds")
    assert "is behind RepSim and" in show.judged_text("gradsim", behind, rises).text
    both = pd.concat([lds, behind.assign(dataset="mixed_hard")])
    level = table(own, ahead | {("gradsim", "repsim"): (0.1, -0.1, 0.3)}, "lds").assign(dataset="mixed_hard")
    assert "is on 1 of 2 data sets ahead of RepSim" in show.judged_text("gradsim", pd.concat([lds, level]), rises).text
    assert "on 1 of 2 data sets ahead of, and on 1 behind, RepSim" in show.judged_text("gradsim", both, rises).text
    assert "GradSim raises the loss by more than every baseline" in show.removal_text(rises).text
    assert "GradSim predicts retraining better than every baseline" in show.lds_text(lds).text


def test_the_damping_is_chosen_on_halves_that_it_is_not_judged_on(finished):
    """Each of the two folds by hand, with scores that rank either fold best at another damping."""
    rng = np.random.default_rng(0)
    masks = rng.random((8, 7)) < 0.5
    losses = rng.normal(size=(8, 2))
    judge = SimpleNamespace(plan=SimpleNamespace(halves=masks), losses_of_halves=lambda: losses, clusters=None)
    gram = SimpleNamespace()
    by_damping = {damping: rng.normal(size=(2, 7)) for damping in tuned.DAMPINGS}

    def lds(scores, rows):
        pairs = zip(scores @ masks[rows].T, -losses[rows].T, strict=True)
        return np.mean([stats.spearmanr(*pair).statistic for pair in pairs])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tuned, "gram_scores", lambda _, keys, damping, __: {k: torch.tensor(by_damping[damping]) for k in keys}
        )
        judged = {(name, other): value.value for _, name, other, value in tuned.judge(judge, gram, 10)}
    folds = [np.arange(8) % 2 == 0, np.arange(8) % 2 == 1]
    expected = [
        lds(max(by_damping.values(), key=lambda scores, a=a: lds(scores, a)), b) for a, b in (folds, folds[::-1])
    ]
    assert judged["exact", ""] == pytest.approx(np.mean(expected)) and judged["exact", "lissa"] == pytest.approx(0)


def test_over_seeds_the_interval_is_that_of_the_seeds():
    seeds = [table(OWN, AHEAD | LEVEL, seed=seed) for seed in range(3)]
    for frame, rise in zip(seeds, (0.9, 0.1, -0.4), strict=True):
        frame.loc[(frame.method == "gradsim") & (frame.against == "tfidf"), "value"] = rise
    assert "GradSim raises" not in show.removal_text(pd.concat(seeds)).text
