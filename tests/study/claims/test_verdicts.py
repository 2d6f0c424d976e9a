"""Small tables, a verdict of each kind: with three seeds, with one, with intervals that are too wide, and with none."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from study.claims import verdicts
from study.claims.evidence import STATISTICS

CLAIMS = {claim.id: claim for claim in verdicts.claims()}


def verdict(monkeypatch, evidence, side, threshold=0.0, seeds=3):
    """The row of one claim whose statistic gives {alternative: {condition: (mean, half the interval)}} in each seed."""

    def rows(mean, half):
        seed = np.arange(seeds)
        return pd.DataFrame({"seed": seed, "value": mean, "ci_low": mean - half, "ci_high": mean + half})

    frames = {name: {of: rows(*each) for of, each in conditions.items()} for name, conditions in evidence.items()}
    monkeypatch.setitem(STATISTICS, "given", lambda tables: frames)
    claim = replace(CLAIMS["question"], statistic="given", side=side, threshold=threshold)
    (row,) = verdicts.judge_claims([claim], {}).itertuples()
    return row


@pytest.mark.parametrize(
    ("side", "mean", "expected"),
    [
        ("above", 0.2, "supported"),
        ("above", -0.2, "not supported"),
        ("below", -0.2, "supported"),
        ("below", 0.2, "not supported"),
        ("within", 0.0, "supported"),
        ("within", 0.3, "not supported"),
        ("within", -0.3, "not supported"),
    ],
)
def test_an_interval_on_one_side_decides_and_one_that_is_wide_or_of_two_seeds_does_not(
    monkeypatch, side, mean, expected
):
    threshold = 0.1 if side == "within" else 0.0
    row = verdict(monkeypatch, {"": {"": (mean, 0.05)}}, side, threshold)
    assert (row.verdict, row.leans, row.seeds) == (expected, expected, 3)
    assert row.p < 0.05 and pd.isna(row.reason)
    for half, seeds in ((3.0, 3), (0.05, 2)):
        row = verdict(monkeypatch, {"": {"": (mean, half)}}, side, threshold, seeds)
        assert (row.verdict, row.leans) == ("inconclusive", expected)
        assert row.needed >= 3 and row.reason


def test_seeds_that_would_decide_do(monkeypatch):
    row = verdict(monkeypatch, {"": {"": (0.2, 0.6)}}, "above")
    assert row.verdict == "inconclusive"
    assert verdict(monkeypatch, {"": {"": (0.2, 0.6)}}, "above", seeds=int(row.needed)).verdict == "supported"
    assert verdict(monkeypatch, {"": {"": (0.2, 0.6)}}, "above", seeds=int(row.needed) - 1).verdict == "inconclusive"


def test_one_method_that_beats_all_controls_is_enough_and_one_control_is_enough_against_each(monkeypatch):
    good, tied, bad = (0.3, 0.05), (0.02, 0.3), (-0.3, 0.05)
    row = verdict(monkeypatch, {"a": {"x": bad, "y": good}, "b": {"x": good, "y": (0.2, 0.05)}}, "above")
    assert (row.verdict, row.of) == ("supported", "b, y")  # where b is nearest to what it has to beat
    row = verdict(monkeypatch, {"a": {"x": bad, "y": good}, "b": {"x": good, "y": bad}}, "above")
    assert row.verdict == "not supported"
    row = verdict(monkeypatch, {"a": {"x": bad, "y": good}, "b": {"x": good, "y": tied}}, "above")
    assert (row.verdict, row.leans, row.of) == ("inconclusive", "supported", "b, y")


def test_being_the_best_of_several_costs_a_comparison_each(monkeypatch):
    alone = verdict(monkeypatch, {"a": {"x": (0.1, 0.1)}}, "above")
    chosen = verdict(monkeypatch, {"a": {"x": (0.1, 0.1)}, "b": {"x": (0.01, 0.1)}}, "above")
    assert chosen.p == pytest.approx(2 * alone.p)
    assert chosen.ci_low < alone.ci_low


def test_an_interval_leaves_out_the_threshold_just_where_there_is_a_verdict(monkeypatch):
    for mean in np.linspace(-0.4, 0.4, 17):
        row = verdict(monkeypatch, {"": {"x": (mean, 0.2), "y": (mean + 0.1, 0.2)}}, "above")
        assert (row.ci_low > 0 or row.ci_high < 0) == (row.verdict != "inconclusive")


def test_seeds_that_differ_more_than_their_intervals_say_decide_less():
    for spread, expected in ((0.01, "supported"), (0.6, "inconclusive")):
        leads = pd.concat(lead(seed, mean) for seed, mean in enumerate((0.9 - spread, 0.9, 0.9 + spread)))
        assert verdicts.judge_claims([CLAIMS["repsim_labels"]], labels(leads)).verdict.item() == expected


def test_without_a_table_or_anything_learnt_or_any_spread_a_claim_is_open_and_says_why():
    leads = pd.concat(lead(seed, 0.3) for seed in range(3))
    tables = labels(leads)
    unlearnt = tables["learning"].assign(ci_low=0.0)
    for tables_of_run, reason in (
        ({}, "controls.csv is missing"),
        ({"controls": leads}, "learning.csv is missing"),
        ({"controls": leads, "learning": unlearnt}, "no task was learnt"),
        (tables | {"controls": leads[leads.against != "lissa"]}, "RepSim is not held against LiSSA"),
        (tables | {"controls": leads.assign(ci_low=np.nan)}, "there is nothing to tell chance by"),
    ):
        (row,) = verdicts.judge_claims([CLAIMS["repsim_labels"]], tables_of_run).itertuples()
        assert (row.verdict, row.reason) == ("inconclusive", reason)
    assert verdicts.judge_claims([CLAIMS["repsim_labels"]], tables).verdict.item() == "supported"


def lead(seed, mean):
    rows = [("mathqa", "repsim", "coverage", mean, mean - 0.1, mean + 0.1, name, seed) for name in METHODS]
    return pd.DataFrame(rows, columns=COLUMNS)


def labels(leads):
    """Tables in which MathQA is learnt."""
    rows = [("mathqa", when, "task_accuracy", value, value - 0.1, None) for when, value in ANSWERS.items()]
    rows.append(("mathqa", "after", "p_change", 0.01, None, None))
    learning = pd.DataFrame(rows, columns=["dataset", "method", "metric", "value", "ci_low", "ci_high"])
    return {"controls": leads, "learning": pd.concat(learning.assign(seed=seed) for seed in range(3))}


METHODS, ANSWERS = ("datainf", "lissa", "gradsim"), {"before": 0.1, "after": 0.9, "constant": 0.2}
COLUMNS = ["dataset", "method", "metric", "value", "ci_low", "ci_high", "against", "seed"]


def test_each_claim_names_a_statistic_a_side_and_evidence_that_the_book_has():
    for claim in verdicts.claims():
        assert claim.statistic in {*STATISTICS, None}
        assert claim.side in ("above", "below", "within")
        assert claim.unit in ("share", "correlation", "number", "nats", "times")
    assert len(CLAIMS) == len(verdicts.claims())
    assert set(STATISTICS) == {claim.statistic for claim in verdicts.claims()} - {None}
