import numpy as np
import pandas as pd
import pytest

from ifcore.judge import CEILING
from study.claims import evidence, reasons
from study.claims.claims import named_method
from study.claims.estimates import PAPER_METHODS, NoEstimate, difference, log10, mean_by_seed
from study.methods import BASELINES, CONTROLS, OF_TEXTS
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


def areas(*of, metric="auc"):
    """Rows of controls.csv: (data set, method, area under the curve), each method held against each baseline."""
    own = {(dataset, method): value for dataset, method, value in of}
    rows = [(dataset, method, metric, v, v - 0.1, v + 0.1, 0, ITSELF) for (dataset, method), v in own.items()]
    for (dataset, method), value in own.items():
        for (other, against), theirs in own.items():
            if other == dataset and method not in BASELINES and against in BASELINES:
                gap = value - theirs
                rows.append((dataset, method, metric, gap, gap - 0.1, gap + 0.1, 0, against))
    return pd.DataFrame(rows, columns=[*COLUMNS, "against"])


def test_an_area_is_held_against_the_best_baseline_of_its_own_data_set_and_only_where_it_was_learnt():
    frame = areas(
        ("mixed_small", "lissa", 0.9), ("mixed_small", "tfidf", 0.7), ("mixed_small", "bm25", 0.8),
        ("mixed_large", "lissa", 0.9), ("mixed_large", "tfidf", 0.6), ("mixed_large", "bm25", 0.5),
        ("mixed_hard", "lissa", 0.9), ("mixed_hard", "tfidf", 0.1), ("mathqa", "lissa", 0.9), ("mathqa", "tfidf", 0.1),
    )  # fmt: skip
    tables = {"controls": frame, "learning": learning("mixed_small", "mixed_large", "mathqa")}
    alternatives = evidence.STATISTICS["area_mixtures"](tables)
    assert {name: each[""].value.item() for name, each in alternatives.items()} == {"lissa": pytest.approx(0.2)}


def test_a_fall_with_triggers_is_that_of_the_area_on_triggered_prompts_alone():
    of = [("backdoor_1", m, 0.9) for m in (*PAPER_METHODS, "repsim")]
    of += [("backdoor_5", m, 0.7) for m in PAPER_METHODS] + [("backdoor_5", "repsim", 0.85)]
    frame = pd.concat([areas(*of, metric="auc_triggered"), areas(*((d, m, 0.1) for d, m, _ in of))])
    tables = {"controls": frame, "learning": learning("backdoor_1", "backdoor_5")}
    (conditions,) = evidence.STATISTICS["fall_with_triggers"](tables).values()
    assert {name: each.value.item() for name, each in conditions.items()} == pytest.approx(
        dict.fromkeys(PAPER_METHODS, 0.2)
    )
    (conditions,) = evidence.STATISTICS["repsim_with_triggers"](tables).values()
    assert [each.value.item() for each in conditions.values()] == pytest.approx([0.15] * 3)
    with pytest.raises(NoEstimate, match="not both learnt"):
        evidence.STATISTICS["fall_with_triggers"](tables | {"learning": learning("backdoor_1")})


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
    assert [abs(each.value.item()) for conditions in alternatives.values() for each in conditions.values()] == [0.1]


CEILINGS = {"mixed_small": 0.9, "mixed_hard": 0.85, "backdoor_1": 0.5}


def counterfactuals(lead=0.2, seeds=range(10, 18), repsim=0.0):
    """`lds` and `removal`: the named method ahead of all by `lead`, RepSim's own score `repsim`; a cell of three has
    too low a ceiling to decide."""
    rows, named = [], named_method()
    for seed in seeds:
        jitter = 0.005 * (-1) ** seed
        for name, metric, dataset in (*(("lds", "lds", each) for each in CEILINGS), ("removal", "rise", "mixed_small")):
            far = -9 if dataset == "backdoor_1" else 0
            leads = [(named, other, lead + jitter + far) for other in ("repsim", "oracle", *CONTROLS)]
            leads += [(named, ITSELF, repsim + lead), ("repsim", ITSELF, repsim + jitter + far)]
            leads += [(method, ITSELF, 0.1) for method in CONTROLS]
            leads += [("exact", "lissa", lead), ("lissa", "lissa_once", lead)]
            rows += [(name, dataset, m, metric, gap, gap - 0.03, gap + 0.03, seed, to) for m, to, gap in leads]
        rows += [("lds", n, CEILING, "lds", top, top - 0.05, top + 0.05, seed, ITSELF) for n, top in CEILINGS.items()]
    both = pd.DataFrame(rows, columns=["table", *COLUMNS, "against"])
    return {name: part.drop(columns="table") for name, part in both.groupby("table")}


def test_only_cells_whose_ceiling_is_high_enough_decide():
    tables = counterfactuals()
    (conditions,) = evidence.STATISTICS["influence_in_lds"](tables).values()
    assert {name.split(", ")[1] for name in conditions} == {"mixed_small", "mixed_hard"} and len(conditions) == 4
    assert set(evidence.STATISTICS["repsim_in_lds"](tables)[""]) == {"mixed_small", "mixed_hard"}
    low = tables["lds"].assign(value=tables["lds"].value.where(tables["lds"].method != CEILING, 0.7))
    with pytest.raises(NoEstimate, match="no cell has a ceiling of 0.8: the highest is 0.70"):
        evidence.STATISTICS["influence_in_lds"](tables | {"lds": low})


def test_a_lead_over_texts_is_one_over_each_reading_of_them():
    tables = counterfactuals()
    (conditions,) = evidence.STATISTICS["influence_over_texts"](tables).values()
    assert set(conditions) == {f"over {name}" for name in OF_TEXTS}
    for name in ("words_response", "embedding_response"):
        lds = tables["lds"][tables["lds"].against != name]
        with pytest.raises(NoEstimate, match="is not held against"):
            evidence.STATISTICS["influence_over_texts"](tables | {"lds": lds})


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
    risen = pd.concat(rows).assign(value=lambda each: each.value.where(each.metric != "dev_loss", 2.5))
    with pytest.raises(NoEstimate, match="fell with no choice of layers"):
        reasons.layers_gain({"fig8_layers": risen})


def test_facts_are_evidence_where_removal_confirms_the_causes_and_no_baseline_finds_them():
    found = areas(("facts", "lissa", 0.8), ("facts", "tfidf", 0.6), ("facts", "bm25", 0.5), metric="hard_auc")
    confirmed = [("facts", m, "confirmed", v, None, None, 0) for m, v in (("cause", 0.9), ("chance", 0.3))]
    tables = {"facts": pd.concat([found, frame(*confirmed)])}
    alternatives = evidence.STATISTICS["facts_over_baselines"](tables)
    assert {name: each[""].value.item() for name, each in alternatives.items()} == {"lissa": pytest.approx(0.2)}
    easy = areas(("facts", "lissa", 0.8), ("facts", "tfidf", 0.95), metric="hard_auc")
    with pytest.raises(NoEstimate, match="a baseline finds the causes as well"):
        evidence.STATISTICS["facts_over_baselines"]({"facts": pd.concat([easy, frame(*confirmed)])})
    chance = [("facts", m, "confirmed", 0.3, None, None, 0) for m in ("cause", "chance")]
    with pytest.raises(NoEstimate, match="does not confirm"):
        evidence.STATISTICS["facts_over_baselines"]({"facts": pd.concat([found, frame(*chance)])})


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
    assert [each.value.item() for each in alternatives[""].values()] == [0.05]


CHANGES = {"pearson": -0.2, "spearman": -0.05}
