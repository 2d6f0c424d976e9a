"""Section 4.2 on the tiny model, and its statistics on numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from ifcore import models, weights
from ifcore.gradients import example_gradients
from ifcore.gram import Gram
from ifcore.influence import datainf
from ifcore.study.convergence import measure, show
from ifcore.study.runs import answers as answering
from ifcore.study.runs import artifact, checkpoints
from ifcore.study.show.names import COLUMNS
from ifcore.study.show.publish import publish
from tests.study.runs.test_artifact import make_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("finished"), epochs=5)
    return run, {"mixed_small": artifact.attribute(run, "mixed_small")}


def test_the_epochs_looked_at_are_zero_powers_of_two_and_the_last_which_is_used(finished):
    _, tasks = finished
    assert checkpoints.chosen(tasks["mixed_small"]) == [0, 1, 2, 4, 5]


def test_a_checkpoints_scores_and_answers_are_those_of_its_adapter_and_nothing_is_trained(finished):
    run, tasks = finished
    found = tasks["mixed_small"]
    trained = {path: path.stat().st_mtime_ns for path in (found.folder / "checkpoints").rglob("*")}
    scores, answers = checkpoints.scores(run, found, 1), checkpoints.answers(run, found, 1)
    base, tokenizer = weights.load("random:tiny-llama")
    model = models.with_adapter(base, found.folder / "checkpoints" / "epoch-01")
    rows = [
        example_gradients(model, models.example_batches(model, tokenizer, part, 2)) for part in (found.train, found.val)
    ]
    np.testing.assert_array_equal(scores["datainf"], datainf(Gram.from_gradients(*rows)).numpy())
    prompts = [each.prompt for each in found.val]
    assert answers == answering.generate(model, tokenizer, prompts, run.profile.max_new_tokens)
    assert {path: path.stat().st_mtime_ns for path in (found.folder / "checkpoints").rglob("*")} == trained
    assert not list(found.folder.rglob("epochs/*/tmp*"))


def test_the_epoch_used_and_the_untouched_model_are_not_computed_again(finished):
    run, tasks = finished
    found = tasks["mixed_small"]
    assert checkpoints.scores(run, found, found.epoch) is found.scores
    assert checkpoints.answers(run, found, found.epoch) is found.after
    assert checkpoints.answers(run, found, 0) is found.before


def test_a_checkpoints_scores_are_computed_once(finished):
    run, tasks = finished
    found = tasks["mixed_small"]
    checkpoints.scores(run, found, 2)
    file = found.folder / "epochs" / "02" / "scores.safetensors"
    before = file.stat().st_mtime_ns
    checkpoints.scores(run, found, 2)
    assert file.stat().st_mtime_ns == before


def test_stability_is_the_mean_rank_correlation_of_rows():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 6, 9))
    truth = [spearmanr(a, b).statistic for a, b in zip(before, after, strict=True)]
    value, low, high = measure.stability(before, after)
    assert value == pytest.approx(np.mean(truth))
    assert low < value < high
    assert measure.stability(before, 3 * before + 1)[0] == pytest.approx(1)
    assert np.isnan(measure.stability(np.ones((2, 3)), np.ones((2, 3)))).all()


def test_a_trend_is_the_least_squares_slope_in_points_per_ten_steps():
    rows = [
        ("grammars", "datainf", "accuracy", 0.9 - 0.004 * step, step, epoch)
        for epoch, step in enumerate((0, 5, 10, 20))
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "method", "metric", "value", "step", "epoch"])
    trend = measure.trends(frame.assign(seed=0), "accuracy").iloc[0]
    assert (trend["first"], trend["last"]) == pytest.approx((88, 82))
    assert (trend.value, trend.ci_low, trend.ci_high) == pytest.approx((-4, -4, -4))


def test_two_methods_agree_where_their_changes_do_whatever_the_level_of_a_data_set():
    moves = {"datainf": (0.1, 0.3, 0.2, 0.4), "gradsim": (0.3, 0.1, 0.2, 0.0)}
    rows = [
        (dataset, 0, method, "accuracy", epoch, level + value)
        for dataset, level in (("grammars", 0.0), ("mathqa", 0.5))
        for method, values in moves.items()
        for epoch, value in enumerate(values, 1)
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "seed", "method", "metric", "epoch", "value"])
    correlation, gap = measure.agreement(frame, "datainf", "gradsim")
    assert correlation == pytest.approx(-1)
    assert gap == pytest.approx((0.2 + 0.2 + 0.0 + 0.4) / 4)


@pytest.mark.parametrize(
    ("values", "words"),
    [((0.9, 0.8, 0.7), "drops"), ((0.7, 0.8, 0.9), "rises"), ((0.8, 0.8, 0.8), "shows no clear trend")],
)
def test_a_trend_is_told_over_several_seeds(values, words):
    rows = [
        ("grammars", seed, "gradsim", metric, epoch, 10 * epoch, value + 0.1 * seed)
        for seed in (0, 1)
        for metric in ("accuracy", "coverage", "stability")
        for epoch, value in enumerate(values, 1)
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "seed", "method", "metric", "epoch", "step", "value"])
    text = show.convergence_text(frame).text
    slope = 100 * (values[1] - values[0])
    assert f"GradSim {words}, from {100 * values[0] + 5:.0f} to" in text
    assert f"({slope:+.1f} [{slope:.2f}, {slope:.2f}])" in text


def test_the_chapter_has_its_csv_figure_and_sentences(finished):
    run, tasks = finished
    frame = publish(run, "fig5_convergence", measure.along(run, tasks))
    show.convergence_figure(run, frame)
    assert {path.name for path in run.results.glob("fig5*")} == {
        f"fig5_convergence.{end}" for end in ("csv", "png", "svg")
    }
    assert set(COLUMNS) <= set(frame.columns)
    assert set(frame.metric) == {"accuracy", "coverage", "stability", "train_loss", "dev_loss"}
    assert frame[frame.metric == "accuracy"].step.min() == 0
    assert "DataInf" in show.convergence_text(frame).text
