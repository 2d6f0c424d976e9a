"""Verdicts: each claim's statistic, pooled over seeds and held against the threshold that was fixed beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from study.claims.claims import PRIMARY, SECONDARY, Claim
from study.claims.estimates import NoEstimate, Tables
from study.claims.evidence import STATISTICS
from study.pooling import Pooled, pool

SUPPORTED, NOT_SUPPORTED, OPEN, NOT_TESTABLE = "supported", "not supported", "open", "not testable here"
CONFIRMING = 10  # seeds from here on were run after the tests were fixed; those before were looked at
MIN_SEEDS = 8  # that a verdict takes: tests/study/claims/test_power.py says what they can tell
SHARES = {PRIMARY: 0.8, SECONDARY: 0.5}  # of a claim's error, what is for its support; the rest is for its opposite
LEVEL = 0.05  # for the primary claims together, and of the secondary verdicts that may be false
COLUMNS = ["claim", "kind", "section", "of", "value", "ci_low", "ci_high", "next_low", "next_high", "threshold", "p"]
COLUMNS += ["seeds", "verdict", "leans", "reason", "tables"]


def judge_claims(
    claims: Sequence[Claim], tables: Tables, first: int = CONFIRMING, least: int = MIN_SEEDS
) -> pd.DataFrame:
    """A row for each claim: its verdict, and what it rests on.

    `value`, `ci_low`, `ci_high`: the estimate `of` which the claim hangs, pooled over `seeds`: of those that all have
    to be on one side the nearest to the threshold, in the alternative that fares best. `next_low`, `next_high`: where
    a further seed's estimate falls in 95 % of cases. `p`: the one-sided p-value of the side that the estimates are on,
    the claim's or its opposite's, corrected for what the estimate was chosen from and divided by the side's share of
    the error (SHARES).

    A claim is decided where p, corrected for the number of claims, is at most 0.05: for primary ones by Holm's method,
    so that in 5 % of cases at most any of them is wrong, and for the others by Benjamini and Hochberg's, so that 5 % of
    those decided are expected to be. Intervals are of 95 %, each for itself. A verdict takes `least` seeds from `first`
    on; of seeds before it stays `open`, with the `reason`. `leans`: the verdict if the estimates were the truth. A
    claim without an estimate is `not testable here`, for the `reason`.
    """
    seeds = {seed for table in tables.values() if "seed" in table for seed in table.seed.unique()}
    if confirming := {seed for seed in seeds if seed >= first}:
        tables = {name: frame[frame.seed.isin(confirming)] for name, frame in tables.items()}
    tests = {claim.id: _test(claim, tables) for claim in claims}
    testable = {name: test for name, test in tests.items() if isinstance(test, _Test)}
    adjusted: dict[str, float] = {}
    for kind, correct in ((PRIMARY, _holm), (SECONDARY, false_discovery_control)):
        if names := [claim.id for claim in claims if claim.kind == kind and claim.id in testable]:
            corrected = correct([testable[name].p for name in names])
            adjusted |= dict(zip(names, map(float, corrected), strict=True))
    looked_at = bool(seeds) and not confirming
    rows = [_judge(claim, tests[claim.id], adjusted.get(claim.id, nan), least, looked_at) for claim in claims]
    return pd.DataFrame(rows, columns=COLUMNS)


@dataclass(frozen=True)
class _Test:
    """The estimate that a claim hangs on (of `condition`), the threshold that it is held against, and the p-value of
    the side that the claim `leans` to. `seeds`: the fewest of any estimate."""

    pooled: Pooled
    condition: str
    threshold: float
    p: float
    seeds: int
    leans: str


def _holm(p: Sequence[float]) -> np.ndarray:
    """Holm's corrected p-values."""
    order, corrected = np.argsort(p, kind="stable"), np.empty(len(p))
    left = np.arange(len(p), 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(left * np.asarray(p)[order]))
    return corrected


def _judge(claim: Claim, test: _Test | str, adjusted: float, least: int, looked_at: bool) -> dict[str, Any]:
    """The row of a claim, from its test (or why there is none) and its corrected p-value."""
    row = {"claim": claim.id, "kind": claim.kind, "section": claim.section, "threshold": claim.threshold, "seeds": 0}
    row |= {"tables": " ".join(claim.tables), "p": nan}
    if isinstance(test, str):
        return row | {"verdict": NOT_TESTABLE, "reason": test}
    pooled = test.pooled
    ends = {"ci": pooled.interval(0.05), "next": pooled.prediction(0.05)}
    for name, (low, high) in ends.items():
        if claim.unit in ("share", "correlation"):  # where such a number must lie
            low, high = np.clip((low, high), -1.0, 1.0)
        row |= {f"{name}_low": low, f"{name}_high": high}
    row |= {"value": pooled.mean, "of": test.condition, "threshold": test.threshold, "p": test.p, "seeds": test.seeds}
    row |= {"leans": test.leans, "verdict": OPEN}
    if looked_at:
        return row | {"reason": f"seeds below {CONFIRMING} give no verdict"}
    if test.seeds < least:
        return row | {"reason": f"{test.seeds} of {least} seeds"}
    if not adjusted <= LEVEL:
        return row | {"reason": "the interval is too wide to tell"}
    return row | {"verdict": test.leans}


def _test(claim: Claim, tables: Tables) -> _Test | str:
    try:
        evidence = STATISTICS[claim.statistic](tables)
    except NoEstimate as reason:
        return str(reason)
    if not any(evidence.values()):
        return "the tables have no values for it"
    pooled = {
        alternative: {name: pool(rows.value, rows.ci_low, rows.ci_high) for name, rows in conditions.items()}
        for alternative, conditions in evidence.items()
        if conditions and all(len(rows) for rows in conditions.values())
    }
    if not pooled:
        return "no seed has all that it takes"
    seeds = min(estimate.seeds for estimates in pooled.values() for estimate in estimates.values())
    claimed, opposite = _SIDES[claim.side](pooled, claim.threshold, claim.smallest)
    p = {SUPPORTED: claimed.p / SHARES[claim.kind], NOT_SUPPORTED: opposite.p / (1 - SHARES[claim.kind])}
    if max(p.values()) <= LEVEL:  # there is an effect, smaller than the smallest of interest
        leans = NOT_SUPPORTED if claim.side == "above" else SUPPORTED
    else:
        holds = {SUPPORTED: claimed.holds, NOT_SUPPORTED: opposite.holds}
        leans = min(p, key=lambda verdict: (not holds[verdict], p[verdict]))
    side = claimed if leans == SUPPORTED else opposite
    return _Test(side.pooled, side.condition, side.end, min(1.0, p[leans]), seeds, leans)


Estimates = dict[str, dict[str, Pooled]]  # alternative -> condition -> its pooled estimate


@dataclass(frozen=True)
class _Side:
    """One side of a claim: the estimate it hangs on and the `end` it is held against, the p-value that it isn't so, and
    whether the estimates say so."""

    pooled: Pooled
    condition: str
    end: float
    p: float
    holds: bool


def _all_above(alternatives: Estimates, end: float) -> _Side:
    """In one of the alternatives everything is above the end: the largest p-value of an alternative's estimates, the
    smallest of these times their number."""
    sides = []
    for alternative, estimates in alternatives.items():
        p = {name: estimate.p_value(end, above=True) for name, estimate in estimates.items()}
        name = max(p, key=lambda name: (p[name], -estimates[name].mean))
        holds = all(estimate.mean > end for estimate in estimates.values())
        p_all = min(1.0, len(alternatives) * p[name])
        sides.append(_Side(estimates[name], joined(alternative, name), end, p_all, holds))
    return min(sides, key=lambda side: (side.p, -side.pooled.mean))


def _none_above(alternatives: Estimates, end: float) -> _Side:
    """In each of the alternatives something is below the end: the smallest p-value of an alternative's estimates times
    their number, the largest of these."""
    sides = []
    for alternative, estimates in alternatives.items():
        p = {name: estimate.p_value(end, above=False) for name, estimate in estimates.items()}
        name = min(p, key=lambda name: (p[name], estimates[name].mean))
        holds = any(estimate.mean < end for estimate in estimates.values())
        p_any = min(1.0, len(estimates) * p[name])
        sides.append(_Side(estimates[name], joined(alternative, name), end, p_any, holds))
    return max(sides, key=lambda side: (side.p, side.pooled.mean))


def _above(alternatives: Estimates, threshold: float, smallest: float) -> tuple[_Side, _Side]:
    return _all_above(alternatives, threshold), _none_above(alternatives, threshold + smallest)


def _below(alternatives: Estimates, threshold: float, smallest: float) -> tuple[_Side, _Side]:
    return _none_above(alternatives, threshold), _all_above(alternatives, threshold - smallest)


def _within(alternatives: Estimates, threshold: float, _: float) -> tuple[_Side, _Side]:
    """All estimates are between −threshold and threshold, or one of them is not."""
    estimates = {
        joined(alternative, name): estimate
        for alternative, conditions in alternatives.items()
        for name, estimate in conditions.items()
    }
    inside, outside = [], []
    for name, estimate in estimates.items():
        end = -threshold if estimate.mean < 0 else threshold
        is_inside = abs(estimate.mean) < threshold
        p_in = estimate.p_value(end, above=end < 0)
        p_out = min(1.0, 2 * len(estimates) * estimate.p_value(end, above=end > 0))
        inside.append(_Side(estimate, name, end, p_in, is_inside))
        outside.append(_Side(estimate, name, end, p_out, not is_inside))
    return (
        max(inside, key=lambda side: (side.p, abs(side.pooled.mean))),
        min(outside, key=lambda side: (side.p, -abs(side.pooled.mean))),
    )


def joined(*names: str) -> str:
    return ", ".join(filter(None, names))


_SIDES = {"above": _above, "below": _below, "within": _within}
