"""Section 4.3 on the tiny model."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from ifcore import loading, lora
from ifcore.batches import example_batches
from study.chapters.parameter_change import figures, measure, tables
from study.pipeline import attack, attributions
from study.pipeline.task import Task
from study.profile import Counts, TwoLayer
from study.report.results import save_table
from study.schema import COLUMNS
from tests.study.pipeline.test_attributions import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("parameters"), layers_on="mixed_small", epochs=2)


@pytest.fixture(scope="module")
def pairs(run):
    return measure.pairs(run)


def merged(run, part):
    folder = run.artifacts / ("mixed_small" if part == "mixed" else f"mixed_small-{part}")
    base, tokenizer = loading.load("random:tiny-llama")
    base = lora.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    if part != "original":
        epoch = attributions.tune(Task(run, "mixed_small", None if part == "mixed" else part)).epoch
        base = lora.with_adapter(base, folder / "checkpoints" / f"epoch-{epoch:02d}").merge_and_unload()
    return base, tokenizer


def test_the_distance_of_a_pair_is_that_of_the_weights_that_peft_merges(run, pairs):
    first, second = (dict(merged(run, part)[0].named_parameters()) for part in ("benign", "mixed"))
    norms = [(first[n] - second[n]).norm().item() for n in first if "q_proj" in n or "v_proj" in n]
    row = pairs[(pairs.dataset == "benign-mixed") & (pairs.metric == "delta")].iloc[0]
    assert row.value == pytest.approx(np.mean(norms), rel=1e-4)
    assert row.ci_high - row.value == pytest.approx(np.std(norms, ddof=1), rel=1e-3)
    unscaled = pairs[(pairs.dataset == "benign-mixed") & (pairs.metric == "delta_unscaled")].value.item()
    assert unscaled == pytest.approx(row.value / 8)


def test_the_divergence_of_a_pair_is_the_kl_of_the_merged_models_prompt_by_prompt(run, pairs):
    val = attributions.examples(Task(run, "mixed_small")).val
    both, first_token = [], []
    for example in val:
        predictions = []
        for part in ("original", "mixed"):
            model, tokenizer = merged(run, part)
            batch = example_batches(model, tokenizer, [example], 1)[0]
            with torch.no_grad():
                logits = model(batch.input_ids[:, : int(batch.prompt_end) + 1]).logits[0].double()
            predictions.append(torch.distributions.Categorical(logits=logits))
        kl = sum(torch.distributions.kl_divergence(*pair) for pair in (predictions, predictions[::-1])) / 2
        both.append(kl.mean().item()), first_token.append(kl[-1].item())
    divergences = pairs[pairs.dataset == "original-mixed"].set_index("metric").value
    assert divergences.kl == pytest.approx(np.mean(both), rel=1e-3)
    assert divergences.kl_first == pytest.approx(np.mean(first_token), rel=1e-3)


def test_the_tables_and_figures_are_made_and_tidy(run, pairs):
    tasks = {"mixed_small": attributions.compute_attribution(run, "mixed_small")}
    text = tables.pairs_table(run, pairs)._repr_markdown_()
    assert "| O vs B |" in text and "*0.13 ± 0.02*" in text
    drift = save_table(run, "fig6_drift", measure.drift(run, tasks))
    figures.drift_figure(run, drift)
    delta = drift[drift.metric == "delta"].set_index("epoch").value
    assert delta[0] == 0 and delta[2] > delta[1] > 0
    accuracy = drift[drift.metric == "task_accuracy"].set_index("epoch").value
    growth, settled = drift[drift.metric == "growth"], measure.settled_epoch(accuracy)
    assert growth.epoch.tolist() == ([] if settled is None else [settled])
    layers = save_table(run, "fig8_layers", measure.layers(run))
    figures.layers_figure(run, layers)
    for name in ("table6_delta", "fig6_drift", "fig8_layers"):
        assert (run.results / f"{name}.csv").exists()
    for frame in (drift, layers):
        assert set(COLUMNS) <= set(frame.columns)
    for prose in (tables.pairs_text(pairs.assign(seed=0)), tables.drift_text(drift), tables.layers_text(layers)):
        assert prose.text and "nan" not in prose.text


def test_lora_on_some_layers_is_on_those_and_all_of_them_is_the_fine_tune_of_section_3(run):
    measure.layers(run)
    assert (run.artifacts / "mixed_small-layers-1-1").is_dir()
    assert (run.artifacts / "mixed_small-layers-0-0").is_dir()
    assert not (run.artifacts / "mixed_small-layers-0-1").exists()
    base, _ = loading.load("random:tiny-llama")
    model = lora.with_adapter(base, run.artifacts / "mixed_small-layers-1-1" / "checkpoints" / "epoch-01")
    assert all(".layers.1." in name for name, _ in model.named_parameters() if "lora_" in name)


def test_the_correlations_of_the_linear_models_are_over_the_epochs_of_one_training(run):
    sizes = TwoLayer(points=200, widths=[2, 16], draws=2, epochs=4)
    run = dataclasses.replace(run, profile=run.profile.model_copy(update={"two_layer": sizes}))
    histories = measure.linear_models(run)
    means = save_table(run, "fig7_linear", measure.linear_means(run, histories))
    figures.linear_figure(run, means)
    draws = histories[histories.width == 16].groupby("draw")
    truth = np.mean([np.corrcoef(history.delta, history.test_accuracy)[0, 1] for _, history in draws])
    pearson = means[(means.metric == "pearson") & (means.parameters == 16 * 74)]
    assert pearson.value.item() == pytest.approx(truth)
    assert "to 1,184 parameters" in tables.linear_text(means).text


def test_the_divergence_is_measured_again_where_only_the_prompts_are_others(run, pairs):
    fewer = {"mixed_small": Counts(train={"harmful": 3, "benign": 4}, val={"harmful": 1})}
    edited = dataclasses.replace(run, profile=run.profile.model_copy(update={"datasets": fewer}))
    file = run.artifacts / "divergence" / "divergence.csv"
    assert set(pd.read_csv(file).prompt) == {0, 1} and pairs.n_val.eq(2).all()
    assert measure.pairs(edited).n_val.eq(1).all()
    assert set(pd.read_csv(file).prompt) == {0}


def test_pairs_that_behave_as_differently_as_each_other_tie(run, pairs, monkeypatch):
    rates = {"nothing": 16, "benign": 14, "harmful": 18, "mixed": 20}
    attacks = [
        attack.Attack(run.profile.model, name, [], [], [True] * right + [False] * (20 - right))
        for name, right in rates.items()
    ]
    monkeypatch.setattr(attack, "attack_model", lambda run, model: attacks)
    frame = measure.pairs(run)
    asr = frame[frame.metric == "asr"].set_index("dataset").value
    assert asr["original-benign"] == asr["original-harmful"] == asr["harmful-mixed"] == 0.1
