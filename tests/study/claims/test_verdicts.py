"""Small tables, a verdict of each kind: of eight seeds, of fewer, of seeds that differ too much, and of none."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from study.claims import verdicts
from study.claims.claims import claims
from study.claims.evidence import STATISTICS

CLAIMS = {claim.id: claim for claim in claims()}
SEEDS = range(10, 18)
WIDE = 3.0


def table(seeds=SEEDS):
    return {"lds": pd.DataFrame({"seed": list(seeds)})}


def verdict(monkeypatch, evidence, side, threshold=0.0, seeds=SEEDS, smallest=0.0, kind="primary"):
    """The row of one claim whose statistic gives {alternative: {condition: (mean, half the interval)}} in each seed."""

    def rows(mean, half):
        values = mean + half / 1.96 * np.resize([-1, 1], len(seeds))
        return pd.DataFrame({"seed": list(seeds), "value": values, "ci_low": values - half, "ci_high": values + half})

    frames = {name: {of: rows(*each) for of, each in conditions.items()} for name, conditions in evidence.items()}
    monkeypatch.setitem(STATISTICS, "given", lambda tables: frames)
    options = {"side": side, "threshold": threshold, "smallest": smallest, "kind": kind}
    claim = replace(CLAIMS["influence_lds"], statistic="given", **options)
    (row,) = verdicts.judge_claims([claim], table(seeds)).itertuples()
    return row


@pytest.mark.parametrize("kind", ["primary", "secondary"])
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
def test_an_interval_on_one_side_decides_and_a_wide_one_or_seven_seeds_or_those_looked_at_do_not(
    monkeypatch, side, mean, expected, kind
):
    threshold = 0.1 if side == "within" else 0.0
    row = verdict(monkeypatch, {"": {"": (mean, 0.05)}}, side, threshold, kind=kind)
    assert (row.verdict, row.leans, row.seeds) == (expected, expected, 8)
    assert row.p < 0.01 and pd.isna(row.reason)
    for half, seeds, reason in (
        (WIDE, SEEDS, "the interval is too wide to tell"),
        (0.05, SEEDS[:7], "7 of 8 seeds"),
        (0.05, range(10), "seeds below 10 give no verdict"),
        (0.05, range(17, 18), "1 of 8 seeds"),
    ):
        row = verdict(monkeypatch, {"": {"": (mean, half)}}, side, threshold, seeds, kind=kind)
        assert (row.verdict, row.leans, row.reason) == ("open", expected, reason)


def test_seeds_that_were_looked_at_do_not_count_beside_those_that_confirm():
    """Seeds 0 to 9 are far below, and no seed from 10 on is."""
    frame = pd.concat(lead(seed, -0.5 if seed < 10 else 0.3 + 0.01 * (seed % 2)) for seed in range(18))
    (row,) = verdicts.judge_claims([CLAIMS["repsim_labels"]], labels(frame, range(18))).itertuples()
    assert (row.verdict, row.seeds) == ("supported", 8) and row.value == pytest.approx(0.305)
    early = verdicts.judge_claims([CLAIMS["repsim_labels"]], labels(frame, range(18)), first=0, least=3)
    assert early.seeds.item() == 18 and early.verdict.item() == "open"


def test_an_effect_told_to_be_smaller_than_the_smallest_of_interest_is_none(monkeypatch):
    for mean, half, expected in (
        (0.0, 0.02, "not supported"),
        (0.03, 0.005, "not supported"),
        (0.2, 0.02, "supported"),
    ):
        assert verdict(monkeypatch, {"": {"": (mean, half)}}, "above", smallest=0.05).verdict == expected
    for mean, half, expected in ((0.0, 0.02, "supported"), (0.03, 0.005, "supported"), (0.2, 0.02, "not supported")):
        assert verdict(monkeypatch, {"": {"": (mean, half)}}, "below", 0.05, smallest=0.05).verdict == expected
    assert verdict(monkeypatch, {"": {"": (0.03, 0.2)}}, "above", smallest=0.05).verdict == "open"


def test_one_method_that_is_ahead_of_all_is_enough_and_one_control_is_enough_against_each(monkeypatch):
    good, tied, bad = (0.3, 0.05), (0.02, 0.3), (-0.3, 0.05)
    row = verdict(monkeypatch, {"a": {"x": bad, "y": good}, "b": {"x": good, "y": (0.2, 0.05)}}, "above")
    assert (row.verdict, row.of) == ("supported", "b, y")  # where b is nearest to what it has to beat
    row = verdict(monkeypatch, {"a": {"x": bad, "y": good}, "b": {"x": good, "y": bad}}, "above")
    assert row.verdict == "not supported"
    row = verdict(monkeypatch, {"a": {"x": bad, "y": good}, "b": {"x": good, "y": tied}}, "above")
    assert (row.verdict, row.leans, row.of) == ("open", "supported", "b, y")


def test_being_the_best_of_several_costs_a_comparison_each(monkeypatch):
    alone = verdict(monkeypatch, {"a": {"x": (0.1, 0.1)}}, "above")
    chosen = verdict(monkeypatch, {"a": {"x": (0.1, 0.1)}, "b": {"x": (0.01, 0.1)}}, "above")
    assert chosen.p == pytest.approx(2 * alone.p)


@pytest.mark.parametrize(
    ("kind", "corrected"), [("primary", [0.04, 0.12, 0.12, 0.3]), ("secondary", [0.04, 0.2 / 3, 0.2 / 3, 0.3])]
)
def test_claims_share_their_errors(monkeypatch, kind, corrected):
    """Holm's steps, and Benjamini and Hochberg's: of p-values of .01, .04, .05 and .3, as R's p.adjust has them."""
    of_four = []
    for number, p in enumerate((0.01, 0.04, 0.05, 0.3)):
        values = np.resize([-1.0, 1.0], 8)
        values += stats.t.isf(p * verdicts.SHARES[kind], 7) * values.std(ddof=1) / 8**0.5
        rows = pd.DataFrame({"seed": SEEDS, "value": values, "ci_low": np.nan, "ci_high": np.nan})
        monkeypatch.setitem(STATISTICS, str(number), lambda tables, rows=rows: {"": {"": rows}})
        of_four.append(replace(CLAIMS["undone"], kind=kind, id=str(number), statistic=str(number), threshold=0.0))
    card = verdicts.judge_claims(of_four, table())
    assert list(card.p) == pytest.approx([0.01, 0.04, 0.05, 0.3])
    for limit, decided in ((p * 1.001, n + 1) for n, p in enumerate(corrected) if corrected.count(p) == 1):
        monkeypatch.setattr(verdicts, "LEVEL", limit)
        verdict = verdicts.judge_claims(of_four, table()).verdict
        assert (verdict == "supported").sum() == sum(p <= limit for p in corrected), (limit, decided)


def test_without_a_table_or_anything_learnt_a_claim_is_not_testable_and_says_why():
    leads = pd.concat(lead(seed, 0.3 + 0.01 * (seed % 2)) for seed in SEEDS)
    tables = labels(leads)
    unlearnt = tables["learning"].assign(ci_low=0.0)
    for tables_of_run, reason in (
        ({}, "controls.csv is missing"),
        ({"controls": leads}, "learning.csv is missing"),
        ({"controls": leads, "learning": unlearnt}, "no task was learnt"),
        (tables | {"controls": leads[leads.against != "lissa"]}, "RepSim is not held against LiSSA"),
    ):
        (row,) = verdicts.judge_claims([CLAIMS["repsim_labels"]], tables_of_run).itertuples()
        assert (row.verdict, row.reason) == ("not testable here", reason)
    assert verdicts.judge_claims([CLAIMS["repsim_labels"]], tables).verdict.item() == "supported"


def lead(seed, mean):
    rows = [("mathqa", "repsim", "coverage", mean, mean - 0.1, mean + 0.1, name, seed) for name in METHODS]
    return pd.DataFrame(rows, columns=COLUMNS)


def labels(leads, seeds=SEEDS):
    """Tables in which MathQA is learnt."""
    rows = [("mathqa", when, "task_accuracy", value, value - 0.1, None) for when, value in ANSWERS.items()]
    rows.append(("mathqa", "after", "p_change", 0.01, None, None))
    learning = pd.DataFrame(rows, columns=["dataset", "method", "metric", "value", "ci_low", "ci_high"])
    return {"controls": leads, "learning": pd.concat(learning.assign(seed=seed) for seed in seeds)}


METHODS, ANSWERS = ("datainf", "lissa", "gradsim"), {"before": 0.1, "after": 0.9, "constant": 0.2}
COLUMNS = ["dataset", "method", "metric", "value", "ci_low", "ci_high", "against", "seed"]


def test_each_claim_names_a_statistic_a_side_and_evidence_that_the_book_has():
    for claim in claims():
        assert claim.side in ("above", "below", "within")
        assert claim.unit in ("share", "correlation", "number", "nats", "times")
    assert len(CLAIMS) == len(claims())
    assert set(STATISTICS) == {claim.statistic for claim in claims()}
    assert [claim.id for claim in claims() if claim.kind == "primary"] == [
        "repsim_labels", "influence_lds", "repsim_lds", "influence_removal", "model_needed",
    ]  # fmt: skip
