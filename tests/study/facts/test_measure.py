"""Who finds a fact, on scores worked out by hand; removal, on the tiny model."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ifcore import models, weights
from ifcore.study import data
from ifcore.study.facts import measure, show
from ifcore.study.runs import artifact, retrained
from ifcore.study.runs.task import Task
from tests.study.empirical_study.test_tables import attribution
from tests.study.runs.test_artifact import make_run

SIZES = {"facts": {"classes": 4, "train": 1, "val": 2}}


def asked(scores):
    """Four facts, two places by two relations, and one question about the first of them."""
    split = data.load("facts", 1, 1, 0, classes=4)
    found = attribution({name: [row] for name, row in scores.items()}, "facts")
    return replace(found, train=split.train, val=split.val[:1])


def test_what_stands_on_top_is_told_by_what_it_shares_with_the_question():
    labels = [example.label.split(": ") for example in data.load("facts", 1, 1, 0, classes=4).train]
    place, relation = labels[0]
    mate = next(i for i, each in enumerate(labels) if each[0] == place and each[1] != relation)
    kin = next(i for i, each in enumerate(labels) if each[0] != place and each[1] == relation)
    other = next(i for i, each in enumerate(labels) if each[0] != place and each[1] != relation)
    scores = {
        name: np.eye(4)[top] for name, top in (("gradsim", 0), ("datainf", mate), ("lissa", kin), ("exact", other))
    }
    frame = measure.found_by(asked(scores)).set_index(["method", "metric"]).value
    for method, kind in (("gradsim", "cause"), ("datainf", "place"), ("lissa", "relation"), ("exact", "other")):
        assert [frame[method, f"top_{each}"] for each in measure.KINDS] == [
            float(each == kind) for each in measure.KINDS
        ]
        assert frame[method, "accuracy"] == frame[method, "coverage"] or method != "gradsim"
    assert frame["gradsim", "hard"] == 1 and frame["datainf", "hard"] == 0
    assert frame["lissa", "hard"] == 0.5  # the cause ties with the other fact of its place
    assert frame["chance", "hard"] == 0.5 and frame["chance", "accuracy"] == 0.25


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("finished"), datasets=SIZES, layers_on="facts", facts_removed=2)
    return run, artifact.attribute(run, "facts")


def test_removal_is_the_rise_of_the_loss_after_fine_tuning_without(finished):
    """Of a fine-tune on the remaining examples made by hand, in the same order of steps."""
    run, found = finished
    frame = measure.removal(run, found).set_index(["method", "metric"]).value
    before, one, two = (retrained.losses(Task(run, "facts", left_out=rows)) for rows in ((), (0,), (1,)))
    rises = np.stack([one - before, two - before], axis=1)
    about = [
        [example.label for example in found.train[:2]].index(e.label)
        for e in found.val
        if e.label in {each.label for each in found.train[:2]}
    ]
    kept = [i for i, e in enumerate(found.val) if e.label in {each.label for each in found.train[:2]}]
    own = rises[kept, about]
    assert frame["cause", "rise"] == pytest.approx(own.mean(), abs=1e-6)
    assert frame["cause", "confirmed"] == np.mean(rises[kept].argmax(1) == about)
    assert frame["chance", "confirmed"] == 0.5


def test_losses_are_those_of_the_checkpoint_used_and_nothing_of_a_removal_is_kept_but_them(finished):
    run, found = finished
    base, tokenizer = weights.load("random:tiny-llama")
    base = models.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    model = models.with_adapter(base, found.checkpoint).eval()
    expected = [
        float(models.example_losses(model, *models.example_batches(model, tokenizer, [example])))
        for example in found.val
    ]
    np.testing.assert_allclose(retrained.losses(Task(run, "facts")), expected, rtol=1e-5)
    left = Task(run, "facts", left_out=(0,))
    assert not np.allclose(retrained.losses(left), expected)
    assert {path.name for path in left.folder.iterdir()} == {".lock", "losses.json", "losses.safetensors"}
    assert found.train[0] not in artifact.examples(left).train and len(artifact.examples(left).train) == 3


def rows(**shares):
    """The rows of facts.csv that texts read: name -> (method, metric, value, low, high)."""
    return pd.DataFrame(
        [(*row, 4) for row in shares.values()], columns=["method", "metric", "value", "ci_low", "ci_high", "n_val"]
    )


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.6, 1.0, "confirms"), (0.0, 0.4, "contradicts"), (0.3, 1.0, "is too small to decide on")],
)
def test_removal_confirms_contradicts_or_decides_nothing_by_its_interval(finished, low, high, verdict):
    shares = {"own": ("cause", "confirmed", 0.5, low, high), "chance": ("chance", "confirmed", 0.5, None, None)}
    assert f"**Removal {verdict} the causes**" in show.removal_text(finished[0], rows(**shares)).text


def test_a_method_finds_facts_where_its_interval_is_above_chance():
    found = {"gradsim": (0.9, 0.6, 1.0), "tfidf": (0.2, 0.1, 0.4), "repsim_before": (0.2, 0.1, 0.4)}
    shares = {name: (name, "hard", *each) for name, each in found.items()}
    text = show.facts_text(rows(chance=("chance", "hard", 0.2, None, None), **shares)).text
    assert "**Above it, by the interval: GradSim. Not: RepSim before, TF-IDF.**" in text
    assert "So to find them takes what was learnt." in text
    shares["repsim_before"] = ("repsim_before", "hard", 1.0, 0.8, 1.0)
    text = show.facts_text(rows(chance=("chance", "hard", 0.2, None, None), **shares)).text
    assert "not influence from meaning" in text
