"""Section 4.3 on the tiny model."""

import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from ifcore import models, weights
from ifcore.study.config import Counts, TwoLayer
from ifcore.study.parameter_change import figures, measure, tables
from ifcore.study.runs import artifact, attack
from ifcore.study.runs.task import Task
from ifcore.study.show.names import COLUMNS
from ifcore.study.show.publish import publish
from tests.study.runs.test_artifact import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("parameters"), layers_on="mixed_small", epochs=2)


@pytest.fixture(scope="module")
def pairs(run):
    return measure.pairs(run)


def merged(run, part):
    folder = run.artifacts / ("mixed_small" if part == "mixed" else f"mixed_small-{part}")
    base, tokenizer = weights.load("random:tiny-llama")
    if part != "original":
        epoch = artifact.tune(Task(run, "mixed_small", None if part == "mixed" else part)).epoch
        base = models.with_adapter(base, folder / "checkpoints" / f"epoch-{epoch:02d}").merge_and_unload()
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
    val = artifact.examples(Task(run, "mixed_small")).val
    both, first_token = [], []
    for example in val:
        said = []
        for part in ("original", "mixed"):
            model, tokenizer = merged(run, part)
            batch = models.example_batches(model, tokenizer, [example], 1)[0]
            with torch.no_grad():
                logits = model(batch.input_ids[:, : int(batch.prompt_end) + 1]).logits[0].double()
            said.append(torch.distributions.Categorical(logits=logits))
        kl = sum(torch.distributions.kl_divergence(*pair) for pair in (said, said[::-1])) / 2
        both.append(kl.mean().item()), first_token.append(kl[-1].item())
    found = pairs[pairs.dataset == "original-mixed"].set_index("metric").value
    assert found.kl == pytest.approx(np.mean(both), rel=1e-3)
    assert found.kl_first == pytest.approx(np.mean(first_token), rel=1e-3)


def test_the_tables_and_figures_are_made_and_tidy(run, pairs):
    tasks = {"mixed_small": artifact.attribute(run, "mixed_small")}
    text = tables.pairs_table(run, pairs)._repr_markdown_()
    assert "| O vs B |" in text and "*0.13 ± 0.02*" in text
    drift = publish(run, "fig6_drift", measure.drift(run, tasks))
    figures.drift_figure(run, drift)
    moved = drift[drift.metric == "delta"].set_index("epoch").value
    assert moved[0] == 0 and moved[2] > moved[1] > 0
    layers = publish(run, "fig8_layers", measure.layers(run))
    figures.layers_figure(run, layers)
    for name in ("table6_delta", "fig6_drift", "fig8_layers"):
        assert (run.results / f"{name}.csv").exists()
    for frame in (drift, layers):
        assert set(COLUMNS) <= set(frame.columns)
    for said in (tables.pairs_text(pairs.assign(seed=0)), tables.drift_text(drift), tables.layers_text(layers)):
        assert said.text and "nan" not in said.text


def test_lora_on_some_layers_is_on_those_and_all_of_them_is_the_fine_tune_of_section_3(run):
    measure.layers(run)
    assert (run.artifacts / "mixed_small-layers-1-1").is_dir()
    assert (run.artifacts / "mixed_small-layers-0-0").is_dir()
    assert not (run.artifacts / "mixed_small-layers-0-1").exists()
    base, _ = weights.load("random:tiny-llama")
    model = models.with_adapter(base, run.artifacts / "mixed_small-layers-1-1" / "checkpoints" / "epoch-01")
    assert all(".layers.1." in name for name, _ in model.named_parameters() if "lora_" in name)


def test_the_correlations_of_the_linear_models_are_over_the_epochs_of_one_training(run):
    sizes = TwoLayer(points=200, widths=[2, 16], draws=2, epochs=4)
    run = dataclasses.replace(run, profile=run.profile.model_copy(update={"two_layer": sizes}))
    drawn = measure.linear_models(run)
    means = publish(run, "fig7_linear", measure.linear_means(run, drawn))
    figures.linear_figure(run, means)
    part = drawn[drawn.width == 16]
    truth = np.mean([np.corrcoef(each.delta, each.test_accuracy)[0, 1] for _, each in part.groupby("draw")])
    found = means[(means.metric == "pearson") & (means.parameters == 16 * 74)]
    assert found.value.item() == pytest.approx(truth)
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
    monkeypatch.setattr(attack, "attack", lambda run: attacks)
    found = measure.pairs(run)
    asr = found[found.metric == "asr"].set_index("dataset").value
    assert asr["original-benign"] == asr["original-harmful"] == asr["harmful-mixed"] == 0.1


def test_a_validation_loss_that_only_rises_is_said_to(run):
    rows = [
        ("grammars", epoch, metric, value)
        for epoch in range(3)
        for metric, value in (("delta", epoch), ("train_loss", 1.0), ("dev_loss", 1.0 + epoch))
    ]
    frame = pd.DataFrame(rows, columns=["dataset", "epoch", "metric", "value"])
    assert "never falls below" in tables.drift_text(frame).text


def test_the_verdict_on_the_linear_models_is_on_the_change_draw_by_draw_pooled_over_seeds(run):
    def means(change):
        rows = []
        for seed, shift in ((0, -0.01), (1, 0.01)):
            for metric in ("pearson", "spearman"):
                for parameters, value in ((100, 0.9), (200, 0.9 + change)):
                    rows.append((parameters, seed, metric, None, value + shift, value - 0.9, value + 0.9))
                value = change + shift
                rows.append((200, seed, f"{metric}_change", None, value, value - 0.04, value + 0.04))
            for parameters in (100, 200):
                for epoch in range(2):
                    rows += [(parameters, seed, metric, epoch, epoch, 0, 0) for metric in ("delta", "test_accuracy")]
        return pd.DataFrame(rows, columns=["parameters", "seed", "metric", "epoch", "value", "ci_low", "ci_high"])

    clear, unclear, higher = (tables.linear_text(means(change)).text for change in (-0.06, -0.02, 0.05))
    assert "Pearson: holds here" in clear and "changes by -0.06 [-0.09, -0.03]" in clear
    assert "Pearson: inconclusive" in unclear and "Spearman: does not hold here" in higher


def table6(asr, delta, steps=(30, 30, 30), seed=0):
    """A frame of Table 6 with each model's rate and place on a line."""
    names = list(measure.MODELS)
    at = dict(zip(names, zip(asr, delta, (0, *steps), strict=True), strict=True))
    rows = []
    for first, second in itertools.combinations(names, 2):
        apart = [round(abs(x - y), 9) for x, y in zip(at[first], at[second], strict=True)]
        values = dict(zip(("asr", "delta", "steps"), apart, strict=True)) | {"kl": apart[1], "kl_first": apart[1]}
        rows += [(f"{first}-{second}", seed, metric, value) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["dataset", "seed", "metric", "value"])


def test_table_6_says_what_its_models_can_show_at_all():
    alike = tables.pairs_text(table6((0, 0, 1, 1), (0, 1, 7, 9))).text
    assert "p = 0.333; the smallest p that these distances allow is 0.333: inconclusive, and it would be" in alike
    apart = tables.pairs_text(table6((0, 0.1, 0.3, 0.9), (0, 1, 3, 9))).text
    assert "correlation with |ΔASR| 1.00, Mantel's p = 0.042" in apart and "it follows behaviour" in apart
    same = tables.pairs_text(table6((0.5,) * 4, (0, 1, 3, 9))).text
    assert "nothing to correlate" in same
    paper = next(line for line in apart.splitlines() if "the paper's own" in line)
    assert "inconclusive" in paper and "p = " in paper


def test_over_seeds_table_6_goes_by_their_spread():
    def said(orders):
        frames = [table6((0, 0.1, 0.3, 0.9), order, seed=seed) for seed, order in enumerate(orders)]
        return tables.pairs_text(pd.concat(frames)).text

    assert "3 seeds" in (clear := said(([0, 1, 3, 9], [0, 1, 3, 9.5], [0, 2, 3, 9]))) and "follows behaviour" in clear
    assert "inconclusive" in said(([0, 1, 3, 9], [9, 1, 0, 3], [1, 9, 0, 2])).splitlines()[1]


def test_unequal_steps_are_named_and_called_a_confounder():
    unequal = tables.pairs_text(table6((0, 0.1, 0.3, 0.9), (0, 1, 3, 9), steps=(12, 18, 30))).text
    assert "B 12, H 18, M 30" in unequal and "confounded" in unequal
    assert "confounded" not in tables.pairs_text(table6((0, 0.1, 0.3, 0.9), (0, 1, 3, 9))).text


def figure8(losses, gain):
    """A frame of Figure 8: (layers, dev loss before, after); DataInf's coverage gain where it is not all layers."""
    rows = []
    for layers, before, after in losses:
        at = ("count", layers, 30 - layers, 0)
        rows += [(*at, "fine-tune", "dev_loss_before", before, None, None), (*at, "fine-tune", "dev_loss", after, 0, 0)]
        rows += [(*at, "datainf", metric, 0.5, 0.4, 0.6) for metric in ("accuracy", "coverage")]
        if layers < 30:
            rows.append((*at, "datainf", "coverage_gain", gain, gain - 0.02, gain + 0.02))
    columns = ["over", "layers", "first", "seed", "method", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns)


def test_a_fine_tune_that_learnt_less_than_half_of_what_all_layers_do_is_in_no_verdict():
    frame = figure8([(1, 4, 3.2), (4, 4, 3.0), (30, 4, 2)], gain=0.1)
    found = measure.learning(frame).set_index("layers")
    assert found.share.to_dict() == pytest.approx({1: 0.4, 4: 0.5, 30: 1})
    assert found.learnt.to_dict() == {1: False, 4: True, 30: True}
    text = tables.layers_text(frame).text
    assert "the last 1 (40 %)" in text and "does not hold here. DataInf is better in 1 and worse in 0 of 1" in text
    assert "no improvement is shown" in tables.layers_text(figure8([(4, 4, 3), (30, 4, 2)], gain=0.01)).text


def test_where_all_layers_learn_nothing_or_nobody_looked_there_is_no_verdict():
    for before, after in ((2, 3), (None, None)):
        frame = figure8([(1, before, after), (30, before, after)], gain=0.1)
        assert not measure.learning(frame).learnt.any()
        assert "no verdict" in tables.layers_text(frame).text
