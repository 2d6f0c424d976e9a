"""Section 4.2 on the tiny model, and its statistics on numbers worked out by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr, zscore

from ifcore import loading, lora
from ifcore.batches import example_batches
from ifcore.gradients import example_gradients
from ifcore.gram import Gram
from ifcore.influence import datainf
from study.chapters.convergence import measure, show
from study.pipeline import answers as answering
from study.pipeline import attributions, checkpoints
from study.report.results import save_table
from study.schema import COLUMNS
from study.selection import FOLLOWED
from study.statistics import interval_of_mean
from tests.study.pipeline.test_attributions import make_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("finished"), epochs=5)
    return run, {"mixed_small": attributions.compute_attribution(run, "mixed_small")}


def test_the_epochs_looked_at_are_zero_powers_of_three_and_the_last_which_is_used(finished):
    _, tasks = finished
    assert checkpoints.followed_epochs(tasks["mixed_small"]) == [0, 1, 3, 5]


def test_a_checkpoints_scores_and_answers_are_those_of_its_adapter_and_nothing_is_trained(finished):
    run, tasks = finished
    task = tasks["mixed_small"]
    trained = {path: path.stat().st_mtime_ns for path in (task.folder / "checkpoints").rglob("*")}
    scores, answers = checkpoints.scores(run, task, 1), checkpoints.answers(run, task, 1)
    base, tokenizer = loading.load("random:tiny-llama")
    base = lora.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    model = lora.with_adapter(base, task.folder / "checkpoints" / "epoch-01")
    rows = [example_gradients(model, example_batches(model, tokenizer, part, 2)) for part in (task.train, task.val)]
    np.testing.assert_array_equal(scores["datainf"], datainf(Gram.from_gradients(*rows)).numpy())
    prompts = [example.prompt for example in task.val]
    assert answers == answering.generate(model, tokenizer, prompts, run.profile.max_new_tokens)
    assert {path: path.stat().st_mtime_ns for path in (task.folder / "checkpoints").rglob("*")} == trained
    assert not list(task.folder.rglob("epochs/*/tmp*"))


def test_the_epoch_used_and_the_untouched_model_are_not_computed_again(finished):
    run, tasks = finished
    task = tasks["mixed_small"]
    assert checkpoints.scores(run, task, task.epoch) is task.scores
    assert checkpoints.answers(run, task, task.epoch) is task.after
    assert checkpoints.answers(run, task, 0) is task.before


def test_a_checkpoints_scores_are_computed_once(finished):
    run, tasks = finished
    task = tasks["mixed_small"]
    checkpoints.scores(run, task, 2)
    file = task.folder / "epochs" / "02" / "scores.safetensors"
    before = file.stat().st_mtime_ns
    checkpoints.scores(run, task, 2)
    assert file.stat().st_mtime_ns == before


def test_the_mean_rank_correlation_is_over_the_rows_that_vary():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 6, 9))
    truth = [spearmanr(a, b).statistic for a, b in zip(before, after, strict=True)]
    value, low, high = measure.mean_spearman(before, after)
    assert value == pytest.approx(np.mean(truth))
    assert low < value < high
    assert measure.mean_spearman(before, 3 * before + 1)[0] == pytest.approx(1)
    assert np.isnan(measure.mean_spearman(np.ones((2, 3)), np.ones((2, 3)))).all()


def along(values, seeds=(0,), width=0.02):
    """A frame of Figure 5 with `values` at step 0, 10, 20, …, 0.1 more with each seed."""
    rows = []
    for seed in seeds:
        for epoch, value in enumerate(values):
            checkpoint = ("grammars", seed, "gradsim", epoch, 10 * epoch)
            change = values[-1] - value
            for metric in ("accuracy", "coverage"):
                rows.append((*checkpoint, metric, value + 0.1 * seed, None, None))
                if epoch < len(values) - 1:
                    rows.append(
                        (*checkpoint, f"{metric}_to_last", change + 0.01 * seed, change - width, change + width)
                    )
            rows.append((*checkpoint, "stability", 0.5, None, None))
    columns = ["dataset", "seed", "method", "epoch", "step", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns)


def test_a_trend_starts_at_the_first_trained_checkpoint_and_its_slope_has_an_interval_over_seeds_only():
    trend = measure.trends(along((0.9, 0.5, 0.6, 0.7)), "accuracy").iloc[0]
    assert (trend.untouched, trend["first"], trend["last"]) == pytest.approx((0.9, 0.5, 0.7))
    assert trend.change == pytest.approx((0.2, 0.18, 0.22)) and trend.taught == pytest.approx((-0.2, -0.22, -0.18))
    assert trend.slope[0] == pytest.approx(0.1) and np.isnan(trend.slope[1:]).all()
    frame = along((0.9, 0.5, 0.6, 0.7), seeds=(0, 1))
    frame.loc[(frame.seed == 1) & (frame.epoch == 3) & (frame.metric == "accuracy"), "value"] += 0.1
    slope = measure.trends(frame, "accuracy").iloc[0].slope
    assert slope == pytest.approx((0.125, *interval_of_mean([0.1, 0.15])))


def test_two_methods_scores_change_alike_where_their_patterns_do_whatever_their_scale():
    rng = np.random.default_rng(0)
    before, after = rng.normal(size=(2, 6, 9))
    scaled = {"datainf": (3 * before + 1, 7 * after), "gradsim": (before, after)}
    one, other = ({name: pair[i] for name, pair in scaled.items()} for i in (0, 1))
    assert measure.followed(one, other)[0] == pytest.approx(1)
    swapped = {"datainf": after, "gradsim": before}, {"datainf": before, "gradsim": after}
    assert measure.followed(*swapped)[0] == pytest.approx(-1)


def test_what_follows_is_the_rank_correlation_of_changes_of_standardised_scores_row_by_row():
    rng = np.random.default_rng(1)
    before, after = ({name: rng.normal(size=(4, 7)) for name in ("datainf", "gradsim")} for _ in range(2))
    truth = [
        spearmanr(*(zscore(after[name][row]) - zscore(before[name][row]) for name in before)).statistic
        for row in range(4)
    ]
    value, low, high = measure.followed(before, after)
    assert value == pytest.approx(np.mean(truth)) and low < value < high
    constant = {name: np.ones((4, 7)) for name in before}
    assert np.isnan(measure.followed(constant, constant)).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((0.9, 0.95, 0.97), "above 0.7: "),
        ((0.1, 0.2, 0.15), "below 0.7: "),
        ((0.5, 0.9), "not clearly apart from 0.7: "),
    ],
)
def test_whether_changes_follow_is_decided_against_a_correlation_of_seven_tenths(values, words):
    rows = [(dataset, 0, "datainf", "followed", 3, value) for dataset, value in zip(FOLLOWED, values, strict=False)]
    rows.append(("backdoor_1", 0, "datainf", "followed", 3, np.nan))
    changes = pd.DataFrame(rows, columns=["dataset", "seed", "method", "metric", "epoch", "value"])
    frame = pd.concat([along((0.5, 0.9, 0.8)), changes])
    (line,) = (line for line in show.convergence_text(frame).text.splitlines() if "rank correlation" in line)
    assert words in line and "Backdoor" not in line


@pytest.mark.parametrize(
    ("values", "width", "words", "cells"),
    [
        ((0.5, 0.9, 0.8, 0.7), 0.02, "Accuracy drops for GradSim", ["90, 70", "-20.0<br>[-22.0, -18.0]", "-10.0"]),
        ((0.5, 0.7, 0.8, 0.9), 0.02, "Accuracy rises for GradSim", ["70, 90", "+20.0<br>[18.0, 22.0]", "+10.0"]),
        ((0.5, 0.9, 0.8, 0.7), 0.3, "No clear change of accuracy", ["90, 70", "-20.0<br>[-50.0, 10.0]", "-10.0"]),
        ((0.5, 0.9), 0.02, "No clear change of accuracy", ["90", "", ""]),
    ],
)
def test_a_trend_is_decided_by_the_interval_of_the_change(values, width, words, cells):
    frame = along(values, width=width)
    assert words in show.convergence_text(frame).text
    assert show.trends_table(frame).rows[0][2:5] == cells


def test_over_seeds_a_trend_is_decided_by_their_spread_whatever_the_examples_say():
    frame = along((0.5, 0.9, 0.8, 0.7), seeds=(0, 1, 2), width=0.3)
    assert "Accuracy drops for GradSim" in show.convergence_text(frame).text
    assert "over 3 seeds" in show.trends_table(frame).caption


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (0.9, "fine-tuning moves GradSim by +10.0 [8.0, 12.0] points."),
        (0.7, "fine-tuning moves GradSim by -10.0 [-12.0, -8.0] points."),
        (0.81, "fine-tuning changes none clearly."),
    ],
)
def test_what_is_found_before_training_is_set_against_what_fine_tuning_adds(last, words):
    text = show.before_text(along((0.8, 0.5, last))).text
    assert "GradSim 80 % before; " in text and words in text


def test_the_slopes_go_from_before_over_the_first_trained_checkpoint_to_the_last(run):
    (axis,) = show.trends_figure(run, along((0.8, 0.5, 0.6, 0.9))).axes
    (line,) = (line for line in axis.lines if len(line.get_xdata()) == 3)
    assert list(line.get_ydata()) == pytest.approx([80, 50, 90])
    bars = sorted(tuple(line.get_ydata()) for line in axis.lines if len(line.get_xdata()) == 2)
    assert bars == [pytest.approx((52, 48)), pytest.approx((82, 78))]


def test_the_chapter_has_its_csv_figure_and_sentences(finished):
    run, tasks = finished
    frame = save_table(run, "fig5_convergence", measure.along(run, tasks))
    show.convergence_figure(run, frame)
    assert {path.name for path in run.results.glob("fig5*")} == {
        f"fig5_convergence.{end}" for end in ("csv", "png", "svg")
    }
    assert set(COLUMNS) <= set(frame.columns)
    changes = {"accuracy_to_last", "coverage_to_last"}
    assert set(frame.metric) == {"accuracy", "coverage", "stability", "followed", "train_loss", "dev_loss"} | changes
    assert frame[frame.metric == "followed"].epoch.tolist() == [3, 5]  # not 1: step 0 is no trained checkpoint
    at = frame.set_index(["method", "metric", "epoch"]).value
    gained = at["datainf", "coverage", 5] - at["datainf", "coverage", 0]
    assert at["datainf", "coverage_to_last", 0] == pytest.approx(gained)
    assert frame[frame.metric == "accuracy"].step.min() == 0
    for text in (show.convergence_text(frame).text, show.before_text(frame).text):
        assert "DataInf" in text and "nan" not in text
