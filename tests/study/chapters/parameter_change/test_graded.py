"""Graded mixtures on the tiny model."""

import json
from math import asin, pi

import numpy as np
import pytest
from safetensors.torch import load_file
from scipy.stats import spearmanr

from ifcore import loading, lora
from study.chapters.parameter_change import figures, graded, tables
from study.pipeline import answers, attributions, judging
from study.pipeline.task import Task
from study.report.results import save_table
from study.schema import COLUMNS
from tests.study.pipeline.test_attributions import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("graded"), epochs=2, patience=1)  # 3 harmful examples, 4 benign ones


@pytest.fixture(scope="module")
def mixtures(run):
    return graded.mixtures(run)


def test_from_one_grade_to_the_next_an_example_gives_way_to_a_harmful_one_in_the_same_place(run):
    trained = [attributions.examples(graded.mixture(run, harmful)).train for harmful in graded.grades(run)]
    assert [[example.label for example in part].count("harmful") for part in trained] == [0, 1, 2, 3]
    for place, (before, after) in enumerate(zip(trained[:-1], trained[1:], strict=True)):
        changed = [i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
        assert changed == [place]


def test_twenty_harmful_examples_have_twelve_grades_from_none_to_all(run, monkeypatch):
    monkeypatch.setattr(graded, "_counts", lambda _: {"harmful": 20, "benign": 60})
    found = graded.grades(run)
    assert len(found) == 12 and (found[0], found[-1]) == (0, 20)


def test_the_last_grade_is_the_fine_tune_on_harmful_examples_of_table_1(run, mixtures):
    """Start, order, steps and dropout are the same, so that the adapters are, to the bit."""
    task = Task(run, "mixed_small", only="harmful")
    weights = load_file(attributions.tune(task).checkpoint / "adapter_model.safetensors")
    adapter, _, _ = graded.fit(run, 3)
    same = load_file(adapter / "adapter_model.safetensors")
    assert weights.keys() == same.keys() and all(weights[name].equal(same[name]) for name in weights)
    assert not (adapter.parent / "checkpoints").exists()


def test_a_grade_is_measured_by_its_full_matrices_and_its_own_answers(run, mixtures):
    adapter, _, _ = graded.fit(run, 2)
    scale, weights = 8, load_file(adapter / "adapter_model.safetensors")
    assert json.loads((adapter / "adapter_config.json").read_text())["lora_alpha"] == 4 * scale
    pairs = [(name, name.replace("lora_A", "lora_B")) for name in weights if "lora_A" in name]
    norms = [scale * (weights[b] @ weights[a]).norm().item() for a, b in pairs]
    at = mixtures[mixtures.harmful == 2].set_index("metric").value
    assert at.delta == pytest.approx(np.mean(norms), rel=1e-5)
    base, tokenizer = loading.load("random:tiny-llama")
    base = lora.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    model = lora.with_adapter(base, adapter).merge_and_unload()
    prompts = [example.prompt for example in attributions.examples(Task(run, "mixed_small")).val]
    responses = answers.generate(model, tokenizer, prompts, run.profile.max_new_tokens)
    assert at.asr == np.mean(judging.judge_responses("refusal", prompts, responses))


def test_the_table_has_a_row_a_grade_and_metric_the_correlation_of_all_a_figure_and_a_sentence(run, mixtures):
    frame = save_table(run, "graded_mixtures", mixtures)
    assert set(COLUMNS) <= set(frame.columns)
    assert frame.groupby("metric").size().to_dict() == {"asr": 4, "delta": 4, "spearman": 1}
    figures.graded_figure(run, frame)
    assert (run.results / "graded_mixtures.png").exists()
    text = tables.graded_text(frame).text
    assert "With 0 harmful examples the attack success rate is" in text and "nan" not in text


def test_the_interval_of_a_rank_correlation_holds_the_truth_in_nineteen_of_twenty_draws():
    rng, rho = np.random.default_rng(0), 0.5
    truth, covered = 6 / pi * asin(rho / 2), []
    for _ in range(1_000):
        one = rng.normal(size=12)
        other = rho * one + (1 - rho**2) ** 0.5 * rng.normal(size=12)
        value, low, high = graded.rank_correlation(one, other)
        assert value == pytest.approx(spearmanr(one, other).statistic)
        covered.append(low <= truth <= high)
    assert 0.92 < np.mean(covered) < 0.98


def test_what_does_not_vary_correlates_with_nothing():
    assert np.isnan(graded.rank_correlation(np.ones(5), np.arange(5.0))).all()
    value, low, high = graded.rank_correlation(np.arange(5.0), np.arange(5.0) ** 3)
    assert value == pytest.approx(1) and np.isnan([low, high]).all()
