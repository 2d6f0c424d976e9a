"""Section 4.1's tables, at sizes of a few digits."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import spearmanr

from ifcore import linear, metrics
from study.chapters.approximation_error import errors, figures, iterations, tables, truth
from study.datasets import digits
from study.pipeline import attributions
from study.profile import Linear
from study.report.results import save_table
from study.schema import COLUMNS
from tests.study.datasets.test_digits import write
from tests.study.pipeline.test_attributions import make_run

SIZES = Linear(points=[5, 10], parameters=[200, 500, 1_000], draws=3, decay=0.1, dense_limit=500, left_out=40)


@pytest.fixture
def small(run):
    return dataclasses.replace(run, profile=run.profile.model_copy(update={"linear": SIZES}))


def test_the_error_of_the_exact_scores_is_none_and_scale_is_no_error_of_direction_but_the_sign_is():
    exact = torch.rand(3, 5, dtype=torch.float64) - 0.5
    assert errors._distances(exact, exact) == pytest.approx(
        {"error": 0, "relative_error": 0, "direction_error": 0}, abs=1e-7
    )
    tripled = errors._distances(3 * exact, exact)
    assert tripled["relative_error"] == pytest.approx(2)
    assert tripled["direction_error"] == pytest.approx(0, abs=1e-7)
    assert tripled["error"] == pytest.approx(2 * np.linalg.norm(exact.numpy(), axis=1).mean())
    assert errors._distances(-exact, exact)["direction_error"] == pytest.approx(2)


def test_the_direction_error_is_one_minus_the_cosine_of_a_validation_points_scores_averaged_over_points():
    scores, exact = torch.rand(2, 3, 5, dtype=torch.float64)
    cosines = [a @ b / np.sqrt((a @ a) * (b @ b)) for a, b in zip(scores.numpy(), exact.numpy(), strict=True)]
    assert errors._distances(scores, exact)["direction_error"] == pytest.approx(1 - np.mean(cosines))


def test_errors_come_from_the_methods_on_the_same_loss_and_are_cached(small):
    drawn = errors.errors(small)
    sizes = {("points", 5, 500), ("points", 10, 500)} | {("parameters", 5, size) for size in (200, 500, 1_000)}
    assert set(drawn.groupby(["over", "points", "parameters"]).groups) == sizes
    case = errors._case(small, 5, 500, draw=1)
    G, V = (linear.gradients(case.weights, part) for part in (case.train, case.test))
    F = G.T @ G / 5 + 0.1 * torch.eye(500, dtype=torch.float64)
    fisher = errors._distances(V @ torch.linalg.solve(F, G.T), case.exact)
    inverses = sum(torch.linalg.inv(torch.outer(g, g) + 0.1 * torch.eye(500, dtype=torch.float64)) for g in G) / 5
    datainf = errors._distances(V @ inverses @ G.T, case.exact)
    gradsim = errors._distances(V @ G.T, case.exact)
    at = drawn[(drawn.over == "points") & (drawn.points == 5) & (drawn.draw == 1)].set_index(["method", "metric"]).value
    for method, distance in (("fisher", fisher), ("datainf", datainf), ("gradsim", gradsim)):
        assert at[method].to_dict() == pytest.approx(distance)
    file = small.artifacts / "linear" / "errors.csv"
    before = file.stat().st_mtime_ns
    pd.testing.assert_frame_equal(errors.errors(small), drawn)
    assert file.stat().st_mtime_ns == before


def test_growth_is_the_exponent_of_a_power_law():
    rows = [
        ("points", n, 100, "lissa", 1, "error", draw, (1 + draw) * n**0.7) for n in (10, 20, 40) for draw in range(3)
    ]
    growth = errors.growth(pd.DataFrame(rows, columns=[*errors._SIZE, "draw", "value"]))
    assert growth[["value", "ci_low", "ci_high"]].to_numpy() == pytest.approx(0.7)


def test_the_dense_way_is_extrapolated_above_its_limit_only_and_says_so(small, monkeypatch):
    printed = [{"points": 5, "parameters": 500}, {"points": 10, "parameters": 1_000}]
    monkeypatch.setattr(errors, "paper", lambda: {"table5": printed})
    # Writing a matrix takes one second, all else three: two are left for solving.
    monkeypatch.setattr(errors, "_seconds", lambda compute: 1.0 if len(compute()) == 500 else 3.0)
    timed = errors.runtimes(small)
    dense = timed[timed.method == "dense"]
    assert dense.extrapolated.tolist() == [False, True]
    assert dense.value.tolist() == [3.0, 1.0 * 2**2 + 2.0 * 2**3]
    assert not timed[timed.method != "dense"].extrapolated.any()
    assert set(timed.metric) == {"seconds", "error", "relative_error", "direction_error"}


def test_predictions_agree_with_retraining_at_the_minimum_and_best_at_the_right_damping(small):
    left_out = truth.left_out(small)
    agreement = truth.agreement(left_out)
    pearson = agreement[agreement.metric == "pearson"].set_index(["method", "decay", "damping", "steps"]).value
    at = pearson["exact", 0.1, :, 0]
    assert at.idxmax() == 1.0 and at.max() > 0.99
    part = left_out[(left_out.method == "lissa") & (left_out.steps == 3)]
    for metric, expected in (
        ("pearson", np.corrcoef(part.predicted, part.actual)[0, 1]),
        ("spearman", spearmanr(part.predicted, part.actual).statistic),
        ("slope", np.polyfit(part.predicted, part.actual, 1)[0]),
    ):
        row = agreement[(agreement.method == "lissa") & (agreement.steps == 3) & (agreement.metric == metric)]
        assert row.value.item() == pytest.approx(expected)
        assert row.ci_low.item() < expected < row.ci_high.item()
    assert set(COLUMNS) - {"seed", "profile"} <= set(agreement.columns)


def test_a_cached_table_is_made_again_for_another_seed_decay_or_source(small):
    def left_out(seed=0, source=None, **sizes):
        linear = SIZES.model_copy(update={"left_out": 10} | sizes)
        profile = small.profile.model_copy(update={"linear": linear, "digits_source": source})
        return truth.left_out(dataclasses.replace(small, seed=seed, profile=profile))

    assert not left_out().actual.equals(left_out(seed=1).actual)
    assert left_out(decay=0.5).decay.max() == 0.5
    frames = []
    for seed in (0, 1):
        digits._digits.cache_clear()
        images = np.random.default_rng(seed).integers(0, 256, (20, 4, 4), np.uint8)
        write(small.root / "train-images-idx3-ubyte", images)
        write(small.root / "train-labels-idx1-ubyte", np.arange(20, dtype=np.uint8) % 10)
        frames.append(left_out(source="."))
    assert not frames[0].actual.equals(frames[1].actual)


def test_the_chapters_tables_and_figures_are_made_from_them(small, monkeypatch):
    monkeypatch.setattr(errors, "_seconds", lambda compute: compute() is None or 1.0)
    drawn, timed, left_out = errors.errors(small), errors.runtimes(small), truth.left_out(small)
    agreement = truth.agreement(left_out)
    figures.errors_figure(small, save_table(small, "fig3_error", errors.error_means(small, drawn)))
    figures.truth_figure(small, left_out)
    figures.conditions_figure(small, agreement)
    text = tables.runtimes_table(small, timed)._repr_markdown_()
    assert "*879.61*" in text and "extrapolated from 500 parameters" in text
    tables.truth_table(small, agreement)
    for name in ("fig3_error.csv", "fig3_error.png", "table5_runtime.csv", "loo_truth.csv", "loo_truth.png"):
        assert (small.results / name).exists()
    for name in ("fig3_error", "table5_runtime", "loo_truth"):
        assert set(COLUMNS) <= set(pd.read_csv(small.results / f"{name}.csv").columns)
    assert [row[0] for row in tables.growth_table(small, drawn).rows] == list(tables.LINEAR.values())[2:]
    sentences = tables.errors_text(drawn, timed).text
    assert "far longer than its approximations*: in 0 of " in sentences
    assert "1.00 to 1.00 times as long as ten iterations" in sentences
    pearson = agreement[(agreement.metric == "pearson") & (agreement.damping == 1) & (agreement.steps == 0)]
    exact = pearson[(pearson.method == "exact") & (pearson.decay == 0.1)].value.item()
    assert f"correlation of {exact:.4f}" in tables.truth_text(small, agreement).text


def test_lissa_on_the_language_model_passes_through_its_own_scores_on_the_way_to_exact(tmp_path):
    run = make_run(tmp_path, lissa_iterations=5)
    tasks = {"mixed_small": attributions.compute_attribution(run, "mixed_small")}
    frame = save_table(run, "fig4_lissa", iterations.iterations(run, tasks))
    task = tasks["mixed_small"]
    labels = [[example.label for example in part] for part in (task.train, task.val)]
    value = frame[frame.metric == "coverage"].set_index(["method", "iterations"]).value
    assert value["lissa", 5] == metrics.coverage(task.scores["lissa"], *labels).value
    assert value["lissa", 100_000] == value["exact", -1] == metrics.coverage(task.scores["exact"], *labels).value
    assert value["lissa_released", 0] == metrics.coverage(task.scores["gradsim"], *labels).value
    figures.lissa_figure(run, frame)
    assert (run.results / "fig4_lissa.png").exists()
    assert "the limit instead of ten" in tables.iterations_text(frame).text
    for metric in ("accuracy", "coverage"):
        gains = frame[frame.metric == f"{metric}_gain"].set_index(["method", "iterations"]).value
        values = frame[frame.metric == metric].set_index(["method", "iterations"]).value
        assert set(gains.index) == {("lissa", 10), ("exact", -1), ("repsim", -1)}
        assert gains["lissa", 10] == pytest.approx(values["lissa", 10] - values["lissa", 1])
        assert gains["repsim", -1] == pytest.approx(values["repsim", -1] - values["exact", -1])


def test_more_iterations_improve_coverage_only_where_the_interval_says_so():
    def sentence(low):
        rows = [("lissa", t, m, 0.5 + 0.01 * t, None, None) for t in (1, 10) for m in ("accuracy", "coverage")]
        rows += [("lissa_released", t, "coverage", 0.5, None, None) for t in (0, 10)]
        rows.append(("lissa", 10, "coverage_gain", 0.09, low, 0.2))
        frame = pd.DataFrame(rows, columns=["method", "iterations", "metric", "value", "ci_low", "ci_high"])
        return tables.iterations_text(frame.assign(dataset="grammars", seed=0)).text

    assert "ten iterations instead of one +9.0 [1.0, 20.0] points (more)." in sentence(0.01)
    assert "ten iterations instead of one +9.0 [-1.0, 20.0] points (inconclusive)." in sentence(-0.01)
