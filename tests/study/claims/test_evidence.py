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


def test_errors_are_judged_by_the_exponent_of_their_direction_each_number_of_iterations_for_itself():
    rows = [("digits", m, metric, value, value - 0.1, value + 0.1, 0) for m, metric, value in GROWN]
    grown = frame(*rows, over="points", iterations=[0, 0, 1, 10, 0])
    grown = pd.concat([grown, grown.assign(over="parameters", value=0.7)])
    (conditions,) = reasons.STATISTICS["error_over_points"]({"fig3_growth": grown}).values()
    values = {name: each.value.item() for name, each in conditions.items()}
    assert values == {"datainf": 0.3, "lissa 1": 0.1, "lissa 10": 0.2}


GROWN = [
    ("datainf", "error", 0.9),
    ("datainf", "direction_error", 0.3),
    ("lissa", "direction_error", 0.1),
    ("lissa", "direction_error", 0.2),
    ("fisher", "direction_error", 0.8),
]


@pytest.mark.parametrize(
    ("statistic", "table", "metric"),
    [
        ("lissa_where_it_helps", "fig4_lissa", "coverage_gain"),
        ("convergence_elsewhere", "fig5_convergence", "coverage_to_last"),
    ],
)
def test_iterations_and_convergence_are_judged_by_coverage_on_what_was_learnt(statistic, table, metric):
    rows = []
    for dataset, method, name, value in (
        ("mixed_small", "lissa", metric, 0.1),
        ("mixed_small", "datainf", metric, 0.1),
        ("mixed_small", "lissa", metric.replace("coverage", "accuracy"), 0.9),
        ("mixed_large", "lissa", metric, 0.8),
        ("mathqa", "lissa", metric, 0.7),
    ):
        rows.append((dataset, method, name, value, value, value, 0))
    tables = {table: frame(*rows, epoch=1), "learning": learning("mixed_small", "mathqa")}
    alternatives = reasons.STATISTICS[statistic](tables)
    assert [each.value.item() for conditions in alternatives.values() for each in conditions.values()] == [0.1]


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
    def mixtures(*asr):
        rows = [("m", "fine-tune", "asr", each, None, None, 0) for each in asr]
        return frame(*rows, ("m", "fine-tune", "spearman", 0.3, -0.2, 0.7, 0))

    alternatives = reasons.delta_against_asr({"graded_mixtures": mixtures(0.1, 0.2, 0.3, 0.9)})
    assert alternatives["‖Δθ‖"][""][["value", "ci_low", "ci_high"]].values.tolist() == [[0.3, -0.2, 0.7]]
    with pytest.raises(NoEstimate, match="differ enough"):
        reasons.delta_against_asr({"graded_mixtures": mixtures(0.1, 0.2, 0.3, 0.4)})


def test_growth_after_settling_is_the_geometric_mean_over_what_was_learnt_and_settled():
    rows = [(name, "fine-tune", "growth", value, None, None, 0) for name, value in (("a", 1.0), ("b", 4.0), ("c", 9.0))]
    tables = {"fig6_drift": frame(*rows).astype({"ci_low": float, "ci_high": float}), "learning": learning("a", "b")}
    (conditions,) = reasons.delta_after_settling(tables).values()
    assert conditions["‖Δθ‖"].value.item() == pytest.approx(np.log10(2))
    tables["fig6_drift"] = tables["fig6_drift"].assign(metric="delta")
    with pytest.raises(NoEstimate, match="did not settle"):
        reasons.delta_after_settling(tables)


def test_what_follows_is_the_mean_over_steps_and_then_over_data_sets():
    rows = [("a", 0.9, 0.8, 1.0), ("a", 0.7, 0.6, 0.8), ("b", 0.4, 0.3, 0.5), ("b", None, None, None)]
    cells = [(name, "datainf", "followed", *ends, 0) for name, *ends in rows]
    along = frame(*cells, epoch=[3, 5, 3, 5]).astype({"value": float, "ci_low": float, "ci_high": float})
    (conditions,) = reasons.gradsim_followed({"fig5_convergence": along}).values()
    estimate = conditions["DataInf and GradSim"]
    assert estimate.value.item() == pytest.approx(0.6)
    assert estimate.ci_high.item() == pytest.approx(0.6 + np.hypot(0.1, 0.1) / 2)


def test_the_link_of_parameters_and_behaviour_is_judged_by_ranks_which_a_ceiling_leaves_alone():
    rows = [("digits", "two-layer", f"{kind}_change", value, value, value, 0) for kind, value in CHANGES.items()]
    alternatives = reasons.correlation_with_size({"fig7_linear": frame(*rows)})
    assert [each[""].value.item() for each in alternatives.values()] == [-0.05]


CHANGES = {"pearson": -0.2, "spearman": -0.05}
