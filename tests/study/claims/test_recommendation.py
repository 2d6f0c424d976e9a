"""Advice changes with the tables that it goes by."""

from types import SimpleNamespace

import pandas as pd

from study.claims import recommendation, verdicts
from study.claims.claims import claims
from tests.study.claims.test_evidence import counterfactuals


def advice(tables):
    run = SimpleNamespace(profile=SimpleNamespace(damping=0.1))
    return recommendation.recommendation_text(run, tables).text


def test_the_method_that_predicts_best_is_named():
    assert "LiSSA ranks halves of the data most" in advice(counterfactuals(0.2))
    lds = counterfactuals()["lds"]
    better = lds.assign(value=lds.value.where(lds.method != "repsim", 0.9))
    assert "RepSim ranks halves of the data most" in advice({"lds": better})


def test_damping_is_to_be_tuned_only_where_that_changes_the_score():
    tables = counterfactuals()
    rows = tables["lds"][(tables["lds"].metric == "lds") & (tables["lds"].method == "lissa")]

    def tuned(gain):
        return {"lds": pd.concat([tables["lds"], rows.assign(metric="lds_tuned", value=rows.value + gain)])}

    assert "keep 0.1 of" in advice(tuned(0.0)) and "tune it for LiSSA" in advice(tuned(0.2))


def test_nothing_is_advised_without_tables():
    assert advice({}) == ""


def test_methods_stand_side_by_side_in_what_was_measured():
    table = recommendation.methods_table(counterfactuals(0.2))
    cells = {row[0]: row[1:] for row in table.rows}
    labels, score, rise = cells["LiSSA"]
    assert labels == "" and score.startswith("0.") and rise.endswith("]")
    assert recommendation.methods_table({}) is None


def test_each_of_the_papers_reasons_is_told_by_the_verdicts_of_its_claims():
    judged = verdicts.judge_claims(claims(), {})
    text = recommendation.reasons_text(judged, claims()).text
    assert text.count("Not testable here: ") == 3
    assert "Supported: " in recommendation.reasons_text(judged.assign(verdict="supported"), claims()).text
