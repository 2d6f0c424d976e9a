import numpy as np
import pandas as pd
import pytest

from study.claims import evidence, reasons
from study.claims.estimates import PAPER_METHODS, NoEstimate, difference, log10, mean_by_seed
from study.methods import BASELINES
from study.schema import ITSELF

COLUMNS = ["dataset", "method", "metric", "value", "ci_low", "ci_high", "seed"]


def frame(*rows, **more):
    return pd.DataFrame(rows, columns=COLUMNS).assign(**more)


def learning(*datasets):
    rows = []
    for name in datasets:
        rows += [(name, when, "task_accuracy", value, value - 0.05, value, 0) for when, value in ANSWERS.items()]
        rows.append((name, "after", "p_change", 0.001, None, None, 0))
    return frame(*rows)


ANSWERS = {"before": 0.1, "after": 0.9, "constant": 0.5}


def test_means_and_differences_of_independent_estimates_have_the_intervals_that_simulation_gives():
    rng = np.random.default_rng(0)
    sd = np.array([1.0, 2.0, 0.5])
    draws = 10 + sd * rng.normal(size=(200_000, 3))
    rows = [(name, "m", "x", 10.0, 10 - 1.96 * s, 10 + 1.96 * s, 0) for name, s in zip("abc", sd, strict=True)]
    three = frame(*rows)
    for estimates, truth in (
        (mean_by_seed(three, paired=False), draws.mean(1)),
        (difference(three[:1], three[1:2]), draws[:, 0] - draws[:, 1]),
        (log10(three[2:]), np.log10(draws[:, 2])),
    ):
        assert estimates.value.item() == pytest.approx(truth.mean(), abs=0.02)
        assert (estimates.ci_high - estimates.ci_low).item() / 3.92 == pytest.approx(truth.std(), rel=0.02)


def test_estimates_of_the_same_examples_are_as_uncertain_together_as_each():
    rows = frame(("a", "m", "x", 1.0, 0.0, 2.0, 0), ("b", "m", "x", 3.0, 2.0, 4.0, 0))
    assert mean_by_seed(rows, paired=True)[["value", "ci_low", "ci_high"]].values.tolist() == [[2, 1, 3]]


def test_skill_is_the_way_from_chance_to_all_over_the_data_sets_that_were_learnt():
    rows = []
    for dataset, accuracy, chance in (("mixed_small", 0.75, 0.5), ("mixed_large", 0.2, 0.2), ("mixed_hard", 0.9, 0.5)):
        rows.append((dataset, "chance", "accuracy", chance, None, None, 0))
        rows += [(dataset, method, "accuracy", accuracy, 0.0, 1.0, 0) for method in PAPER_METHODS]
    tables = {"table2_harmful": frame(*rows), "learning": learning("mixed_small", "mixed_large")}
    alternatives = evidence.STATISTICS["skill_harmful"](tables)
    assert {each[""].value.item() for each in alternatives.values()} == {0.25}  # of 0.5 and 0


def test_a_fall_with_triggers_no_faster_than_chances_own_is_none():
    rows = []
    for dataset, chance, right in (("backdoor_1", 0.5, 0.8), ("backdoor_5", 0.25, 0.7)):  # 0.6 of the way
        rows.append((dataset, "chance", "accuracy", chance, None, None, 0))
        rows += [(dataset, method, "accuracy", right, right - 0.1, right + 0.1, 0) for method in PAPER_METHODS]
    tables = {"table4_backdoor": frame(*rows), "learning": learning("backdoor_1", "backdoor_5")}
    (conditions,) = evidence.fall_with_triggers(tables).values()
    assert [each.value.item() for each in conditions.values()] == pytest.approx([0, 0, 0])


def test_errors_that_grow_with_the_square_of_the_points_have_the_exponent_two():
    rows = [("digits", m, "error", n**2, n**2 - 1, n**2 + 1, 0) for m in PAPER_METHODS for n in (10, 20, 80)]
    errors = frame(*rows, over="points", points=[10, 20, 80] * 3, iterations=0)
    (conditions,) = reasons.STATISTICS["error_over_points"]({"fig3_error": errors}).values()
    assert [each.value.item() for each in conditions.values()] == pytest.approx([2, 2, 2])


def test_the_question_takes_every_control_on_every_data_set_and_in_removal():
    tables = counterfactuals()
    alternatives = evidence.influence_beats_controls(tables)
    assert set(alternatives) == {"lissa", "gradsim"}
    assert len(alternatives["lissa"]) == 3 * len(BASELINES)  # two data sets, and removal
    fewer = tables["lds"][tables["lds"].against != "bm25"]
    with pytest.raises(NoEstimate, match="LiSSA is not held against BM25"):
        evidence.influence_beats_controls(tables | {"lds": fewer})
    half = tables["lds"][(tables["lds"].method == "lissa") | (tables["lds"].dataset == "mixed_small")]
    assert set(evidence.influence_beats_controls(tables | {"lds": half})) == {"lissa"}


def counterfactuals(lead=0.2, seeds=3):
    """`lds` and `removal`: LiSSA ahead of each control by `lead`, GradSim behind, RepSim behind LiSSA by it."""
    rows = []
    for seed in range(seeds):
        for name, metric, dataset in (
            ("lds", "lds", "mixed_small"),
            ("lds", "lds", "grammars_rule"),
            ("removal", "rise", "mixed_small"),
        ):
            leads = [("lissa", control, lead) for control in BASELINES]
            leads += [("gradsim", control, -0.2) for control in BASELINES]
            leads += [("repsim", other, -lead) for other in PAPER_METHODS]
            leads += [(method, ITSELF, 0.3) for method in ("lissa", "gradsim", "repsim", *BASELINES)]
            rows += [(name, dataset, m, metric, gap, gap - 0.03, gap + 0.03, seed, to) for m, to, gap in leads]
    both = pd.DataFrame(rows, columns=["table", *COLUMNS, "against"])
    return {name: part.drop(columns="table") for name, part in both.groupby("table")}


def test_layers_that_did_not_learn_take_no_part_and_neither_does_repsim():
    places = {"over": ["count", "count", "window"], "layers": [4, 1, 2], "first": [0, 3, 0]}
    losses = [frame(("m", "fine-tune", "dev_loss_before", 2.0, None, None, 0))] * 3
    after = [frame(("m", "fine-tune", "dev_loss", loss, None, None, 0)) for loss in (1.0, 1.9, 1.2)]
    gains = [frame(("m", m, "coverage_gain", v, v, v, 0)) for m, v in (("gradsim", 0.1), ("repsim", 0.9))]
    rows = []
    for place in range(3):
        at = {name: each[place] for name, each in places.items()}
        rows += [each.assign(**at) for each in (losses[place], after[place], *(gains if place else []))]
    alternatives = reasons.layers_gain({"fig8_layers": pd.concat(rows)})
    assert {name: each[""].value.item() for name, each in alternatives.items()} == {"layers 0 to 1": 0.1}


def test_facts_whose_causes_removal_does_not_confirm_are_no_evidence():
    rows = [("facts", m, "hard", 0.5, 0.4, 0.6, 0) for m in ("lissa", *BASELINES)]
    chance = ("facts", "chance", "confirmed", 0.3, None, None, 0)
    learnt = frame(*rows, chance, ("facts", "cause", "confirmed", 0.9, 0.7, 1.0, 0))
    assert evidence.facts_over_controls({"facts": learnt})["lissa"].keys() == {f"over {name}" for name in BASELINES}
    with pytest.raises(NoEstimate, match="does not confirm"):
        evidence.facts_over_controls({"facts": frame(*rows, chance, ("facts", "cause", "confirmed", 0.3, 0, 1, 0))})


def test_models_that_behave_alike_say_nothing_of_what_parameters_follow():
    def pairs(*asr):
        rows = [(f"p{i}", "fine-tune", "asr", each, None, None, 0) for i, each in enumerate(asr)]
        return frame(*rows, *((f"p{i}", "fine-tune", "delta", float(i), None, None, 0) for i in range(len(asr))))

    alternatives = reasons.delta_against_asr({"table6_delta": pairs(0.1, 0.2, 0.3, 0.9)})
    assert alternatives["‖Δθ‖"][""].value.item() == pytest.approx(1)
    with pytest.raises(NoEstimate, match="differ enough"):
        reasons.delta_against_asr({"table6_delta": pairs(0.1, 0.2, 0.3, 0.4)})


def test_parameters_that_double_after_the_loss_has_settled_grow_by_a_factor_of_two():
    rows = []
    for loss, delta in ((2.0, 0.0), (1.05, 1.0), (1.0, 2.0)):
        rows += [("m", "fine-tune", "dev_loss", loss, None, None, 0), ("m", "fine-tune", "delta", delta, None, None, 0)]
    drift = frame(*rows, epoch=[0, 0, 1, 1, 2, 2])
    (conditions,) = reasons.delta_after_settling({"fig6_drift": drift}).values()
    assert conditions["‖Δθ‖"].value.item() == pytest.approx(np.log10(2))


def test_accuracies_that_move_together_correlate_however_far_apart_they_are():
    rows, epochs = [], [1, 3, 9, 12]
    for dataset, moves in (("a", (0, 0.1, 0.3, 0.2)), ("b", (0, -0.2, 0.1, 0.1))):
        for method, level in (("datainf", 0.2), ("gradsim", 0.6)):
            rows += [(dataset, method, "accuracy", level + each, None, None, 0) for each in moves]
    along = frame(*rows, epoch=epochs * 4)
    (conditions,) = reasons.gradsim_followed({"fig5_convergence": along}).values()
    assert conditions["DataInf and GradSim"].value.item() == pytest.approx(1)


def test_costs_are_ratios_of_what_a_seed_has_of_both():
    rows = []
    for dataset, ratio in (("a", 10.0), ("b", 1000.0)):
        rows += [(dataset, "influence", metric, ratio, None, None, 0) for metric in ("seconds", "bytes")]
        rows += [(dataset, "repsim", metric, 1.0, None, None, 0) for metric in ("seconds", "bytes")]
    rows.append(("c", "influence", "seconds", 5.0, None, None, 0))  # whose hidden states came with the gradients
    (conditions,) = reasons.cost_on_model({"costs": frame(*rows)}).values()
    assert {name: each.value.item() for name, each in conditions.items()} == {"seconds": 2.0, "bytes": 2.0}
