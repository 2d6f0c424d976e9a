"""Who finds a fact, on scores worked out by hand; removal, on the tiny model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ifcore import loading, lora, training
from ifcore.batches import example_batches
from ifcore.losses import example_losses
from ifcore.tokens import tokenise
from study import datasets, statistics
from study.chapters.facts import measure, show
from study.pipeline import attributions, retraining
from study.pipeline.task import Task
from study.schema import ITSELF
from tests.study.chapters.empirical_study.test_tables import attribution
from tests.study.pipeline.test_attributions import make_run

SIZES = {"facts": {"classes": 4, "train": 1, "val": 2}}


def attribution_of(scores):
    """Four facts, two places by two relations, and one question about the first of them."""
    split = datasets.load("facts", 1, 1, 0, classes=4)
    scored = attribution({name: [row] for name, row in scores.items()}, "facts")
    return replace(scored, train=split.train, val=split.val[:1])


def test_what_stands_on_top_is_told_by_what_it_shares_with_the_question():
    labels = [example.label.split(": ") for example in datasets.load("facts", 1, 1, 0, classes=4).train]
    place, relation = labels[0]
    same_place = next(i for i, label in enumerate(labels) if label[0] == place and label[1] != relation)
    same_relation = next(i for i, label in enumerate(labels) if label[0] != place and label[1] == relation)
    other = next(i for i, label in enumerate(labels) if label[0] != place and label[1] != relation)
    top = {"gradsim": 0, "datainf": same_place, "lissa": same_relation, "exact": other}
    scores = {name: np.eye(4)[row] for name, row in top.items()}
    frame = measure.retrieval(attribution_of(scores)).set_index(["method", "metric"]).value
    for method, kind in (("gradsim", "cause"), ("datainf", "place"), ("lissa", "relation"), ("exact", "other")):
        shares = {name: frame[method, f"top_{name}"] for name in measure.KINDS}
        assert shares == {name: float(name == kind) for name in measure.KINDS}
        assert frame[method, "accuracy"] == frame[method, "coverage"] or method != "gradsim"
    assert frame["gradsim", "hard"] == 1 and frame["datainf", "hard"] == 0
    assert frame["lissa", "hard"] == 0.5  # the cause ties with the other fact of its place
    assert frame["chance", "hard"] == 0.5 and frame["chance", "accuracy"] == 0.25


def test_hard_auc_counts_the_others_of_the_place_that_the_cause_outranks_ties_half():
    split = datasets.load("facts", 1, 1, 0, classes=20)
    cause, *others = (row for row, example in enumerate(split.train) if example.label.startswith("Velmora"))
    scores = np.full((1, 20), 9.0)  # what facts of other places have does not count
    scores[0, others] = 1, 2, 3, 4
    scored = attribution({name: scores.copy() for name in ("gradsim", "tfidf")}, "facts")
    scored = replace(scored, train=split.train, val=[split.val[cause]])
    scored.scores["gradsim"][0, cause], scored.scores["tfidf"][0, cause] = 2, 1
    frame = measure.retrieval(scored).set_index(["method", "metric", "against"]).value
    assert frame["gradsim", "hard_auc", ITSELF] == (1 + 0.5) / 4
    assert frame["tfidf", "hard_auc", ITSELF] == 0.5 / 4
    assert frame["gradsim", "hard_auc", "tfidf"] == 1 / 4
    assert frame["chance", "hard_auc", ITSELF] == 0.5


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("finished"), datasets=SIZES, layers_on="facts", facts_removed=3)
    return run, attributions.compute_attribution(run, "facts")


def test_removal_compares_the_loss_without_the_cause_with_that_without_the_others(finished):
    run, facts = finished
    frame = measure.removal(run, facts).set_index(["method", "metric"]).value
    causes = [example.label for example in facts.train[:3]]
    losses = np.stack([retraining.losses(Task(run, "facts", left_out=(row,))) for row in range(3)], axis=1)
    rises, confirmed = [], []
    for example, row in zip(facts.val, losses, strict=True):
        if example.label in causes:
            cause = causes.index(example.label)
            others = [loss for place, loss in enumerate(row) if place != cause]
            rises.append(row[cause] - np.mean(others))
            confirmed.append(row[cause] > max(others))
    assert len(rises) == 6  # two questions about each
    assert frame["cause", "rise"] == pytest.approx(np.mean(rises))
    assert frame["cause", "confirmed"] == np.mean(confirmed)
    assert frame["chance", "confirmed"] == pytest.approx(1 / 3)


def test_losses_are_those_of_a_fine_tune_on_the_others_by_hand_and_nothing_else_is_kept(finished, tmp_path):
    run, facts = finished
    left = Task(run, "facts", left_out=(1,))
    base, tokenizer = loading.load("random:tiny-llama")
    base = lora.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    profile, others = run.profile, [facts.train[0], *facts.train[2:]]
    peft = lora.add_lora(base, profile.lora_rank, profile.lora_alpha, profile.lora_dropout, None, run.seed)
    rates = {"learning_rate": profile.learning_rate, "patience": profile.patience, "seed": run.seed}
    settings = training.Settings(epochs=profile.epochs, batch_size=profile.batch_size, **rates)
    training.finetune(peft, tokenise(tokenizer, others), [], tmp_path, settings)
    batches = example_batches(peft, tokenizer, facts.val, 2)
    expected = torch.cat([example_losses(peft, batch) for batch in batches]).detach()
    expected = expected[torch.cat([batch.rows for batch in batches]).argsort()]
    np.testing.assert_allclose(retraining.losses(left), expected, rtol=1e-4)
    assert {path.name for path in left.folder.iterdir()} == {".lock", "adapter", "losses.json", "losses.safetensors"}
    assert attributions.examples(left).train == others


def rows(**shares):
    """The rows of facts.csv that texts read: name -> (method, metric, value, low, high), against what by its name."""
    columns = ["method", "metric", "value", "ci_low", "ci_high", "n_val", "against"]
    return pd.DataFrame(
        [(*row, 4, name.split(" over ")[1] if " over " in name else ITSELF) for name, row in shares.items()],
        columns=columns,
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.6, 1.0, "confirms"), (0.0, 0.4, "contradicts"), (0.3, 1.0, "is of too few facts to confirm")],
)
def test_removal_confirms_contradicts_or_decides_nothing_by_its_interval(low, high, verdict):
    shares = {"own": ("cause", "confirmed", 0.5, low, high), "chance": ("chance", "confirmed", 0.5, None, None)}
    text = show.removal_text(rows(rise=("cause", "rise", 2.0, 1.5, 2.5), **shares)).text
    assert f"**Removal {verdict} the causes**" in text and "by +2.00 [1.50, 2.50] nats" in text


def test_the_rise_over_several_seeds_is_not_cut_off_at_one_nat():
    shares = {"own": ("cause", "confirmed", 1, 0.6, 1), "chance": ("chance", "confirmed", 0.25, None, None)}
    seeds = [rows(rise=("cause", "rise", rise, 0, 9), **shares) for rise in (3.0, 3.2, 3.7)]
    low, high = statistics.interval_of_mean([3.0, 3.2, 3.7])
    assert f"by +3.30 [{low:.2f}, {high:.2f}] nats" in show.removal_text(pd.concat(seeds)).text


@pytest.mark.parametrize(("low", "ahead"), [(0.1, "GradSim"), (-0.1, "none")])
def test_a_method_is_ahead_where_the_interval_of_its_lead_over_every_baseline_is_above_0(low, ahead):
    values = {"gradsim": (0.9, 0.6, 1.0), "repsim_before": (0.2, 0.1, 0.4), "tfidf": (0.5, 0.3, 0.7)}
    shares = {name: (name, "hard_auc", *share) for name, share in values.items()}
    shares["gradsim over tfidf"] = "gradsim", "hard_auc", 0.4, low, 0.6
    shares["gradsim over repsim_before"] = "gradsim", "hard_auc", 0.7, 0.3, 0.9
    text = show.facts_text(rows(chance=("chance", "hard_auc", 0.5, None, None), **shares)).text
    assert "**Clearly above that: GradSim.**" in text
    assert "The best of the baselines, TF-IDF, has 50 % [30, 70]." in text
    assert f"**Ahead of every baseline, paired by question: {ahead}.**" in text
