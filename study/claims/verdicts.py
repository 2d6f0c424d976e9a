"""Verdicts: each claim's statistic, pooled over seeds and held against the threshold that was fixed beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isnan, nan, sqrt
from pathlib import Path

import pandas as pd
import yaml

from study import statistics
from study.claims.estimates import Lacking, Tables
from study.claims.evidence import STATISTICS
from study.report.published import FEWEST
from study.statistics import Pooled

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE = "supported", "not supported", "inconclusive"
LEVEL = 0.05  # for all claims together
MOST = 1_000  # seeds: more than that are no advice


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and its test, as claims.yaml explains them."""

    id: str
    section: str
    claim: str
    test: str
    statistic: str
    tables: list[str]
    threshold: float
    side: str
    unit: str
    evidence: str | None


@cache
def claims() -> tuple[Claim, ...]:
    """All claims, in the order of the scorecard."""
    found = ({name: each[name] for name in each if name != "stands"} | each["stands"] for each in _file()["claims"])
    return tuple(Claim(**each) for each in found)


def fixed_on() -> str:
    """The date on which tests and thresholds were fixed."""
    return str(_file()["date"])


def judge_claims(claims: Sequence[Claim], tables: Tables) -> pd.DataFrame:
    """A row for each claim: its verdict, and what it rests on.

    `value`, `ci_low`, `ci_high`: the estimate `of` which the claim hangs, pooled over `seeds` by random effects: of
    those that all have to be on one side the nearest to the threshold, in the alternative that fares best. `p` is
    two-sided, corrected for the number of claims (Holm) and for what the estimate was chosen from; the interval has
    the level that agrees with it. `verdict` is `supported` or `not supported` where p is 0.05 or less and there are
    three seeds or more, else `inconclusive`, with the `reason`. `leans`: the verdict that the estimates lean to, empty
    where to neither. `needed`: seeds that would decide if they went on like this, inf for more than a thousand.
    `tables`: the CSVs that it comes from.
    """
    found = {claim.id: _tested(claim, tables) for claim in claims}
    known = {name: each.p for name, each in found.items() if isinstance(each, _Tested) and each.p < inf}
    adjusted, levels = (dict(zip(known, each, strict=True)) for each in statistics.holm(list(known.values())))
    rows = []
    for claim in claims:
        tested, p, level = found[claim.id], adjusted.get(claim.id, nan), levels.get(claim.id, LEVEL)
        row = {"claim": claim.id, "section": claim.section, "threshold": claim.threshold, "seeds": 0}
        row |= {"verdict": INCONCLUSIVE, "tables": " ".join(claim.tables), "p": p, "needed": nan}
        if isinstance(tested, str):
            rows.append(row | {"reason": tested})
            continue
        low, high = tested.pooled.interval(level / tested.among) if tested.p < inf else (nan, nan)
        if claim.unit in ("share", "correlation"):  # where such a number must lie
            low, high = max(low, -1.0), min(high, 1.0)
        row |= {"value": tested.pooled.mean, "ci_low": low, "ci_high": high, "of": tested.of}
        row |= {
            "threshold": tested.threshold,
            "seeds": tested.seeds,
            "leans": tested.leans if tested.pooled.mean != tested.threshold else "",
        }
        if tested.seeds < FEWEST:
            row["reason"] = f"{tested.seeds} of at least {FEWEST} seeds"
        elif p <= LEVEL:
            row["verdict"] = tested.leans
        else:
            row["reason"] = "the interval holds the threshold" if p == p else "there is nothing to tell chance by"
        if row["verdict"] == INCONCLUSIVE:
            row["needed"] = _needed(tested, level / tested.among)
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


COLUMNS = ["claim", "section", "of", "value", "ci_low", "ci_high", "threshold", "p", "seeds", "verdict", "leans"]
COLUMNS += ["needed", "reason", "tables"]


@dataclass(frozen=True)
class _Tested:
    """The estimate that a claim hangs on, the threshold it is held against, and the two-sided p-value.

    `among`: how many estimates it is the most extreme of, so by how much p was multiplied (Bonferroni). `seeds`: the
    fewest of any estimate. `leans`: the verdict if the estimates were the truth.
    """

    pooled: Pooled
    of: str
    threshold: float
    among: int
    p: float
    seeds: int
    leans: str


@cache
def _file() -> dict:
    return yaml.safe_load(Path(__file__).with_name("claims.yaml").read_text(encoding="utf-8"))


def _tested(claim: Claim, tables: Tables) -> _Tested | str:
    """The test of a claim, or why there is none."""
    try:
        found = STATISTICS[claim.statistic](tables)
    except Lacking as lacking:
        return str(lacking)
    pooled = {
        name: {of: statistics.random_effects(each.value, each.ci_low, each.ci_high) for of, each in conditions.items()}
        for name, conditions in found.items()
        if all(len(each) for each in conditions.values())
    }
    if not pooled:
        return "no seed has all that it takes"
    return _within(pooled, claim.threshold) if claim.side == "within" else _beyond(pooled, claim)


def _beyond(pooled: dict[str, dict[str, Pooled]], claim: Claim) -> _Tested:
    """Whether in some alternative all estimates are above the threshold, or in none: whichever the estimates say.

    That one alternative is all above has the largest p-value of its estimates; that one of several is, the smallest of
    theirs times their number. That an alternative is not has the smallest of its estimates' times their number; that
    none is, the largest of theirs.
    """
    t, seeds = claim.threshold, min(each.seeds for of in pooled.values() for each in of.values())
    holds = [name for name, of in pooled.items() if all(each.mean > t for each in of.values())]
    leans = SUPPORTED if (claim.side == "above") == bool(holds) else NOT_SUPPORTED
    tests = []
    for name in holds or pooled:
        p = {of: _known(each.p_above(t) if holds else each.p_below(t)) for of, each in pooled[name].items()}
        of = max(p, key=p.get) if holds else min(p, key=p.get)
        among = len(pooled) if holds else len(p)
        what = ", ".join(filter(None, (name, of)))
        tests.append(_Tested(pooled[name][of], what, t, among, 2 * among * p[of], seeds, leans))
    return min(tests, key=lambda test: test.p) if holds else max(tests, key=lambda test: test.p)


def _within(pooled: dict[str, dict[str, Pooled]], t: float) -> _Tested:
    """Whether all estimates are between −t and t, by two one-sided tests each, or one is beyond."""
    (found,) = pooled.values()
    seeds = min(each.seeds for each in found.values())
    edges = {of: t if each.mean >= 0 else -t for of, each in found.items()}
    beyond = [of for of, each in found.items() if abs(each.mean) >= t]
    tests = []
    for of in beyond or found:
        edge, above = edges[of], (edges[of] > 0) == bool(beyond)
        p = _known(found[of].p_above(edge) if above else found[of].p_below(edge))
        among, leans = (len(found), NOT_SUPPORTED) if beyond else (1, SUPPORTED)
        tests.append(_Tested(found[of], of, edge, among, 2 * among * p, seeds, leans))
    return min(tests, key=lambda test: test.p) if beyond else max(tests, key=lambda test: test.p)


def _known(p: float) -> float:
    """An estimate without a standard error decides nothing."""
    return inf if isnan(p) else p


def _needed(tested: _Tested, level: float) -> float:
    """Seeds after which the interval at that level would leave out the threshold, all else going on as it is."""
    pooled = tested.pooled
    if not pooled.error > 0:
        return nan
    for seeds in range(max(FEWEST, pooled.seeds), MOST + 1):
        error = pooled.error * sqrt(pooled.seeds / seeds)
        df = pooled.df * (seeds - 1) / max(pooled.seeds - 1, 1)
        low, high = Pooled(pooled.mean, error, df, seeds).interval(level)
        if not low <= tested.threshold <= high:
            return seeds
    return inf
