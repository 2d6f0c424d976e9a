"""Verdicts: each claim's statistic, pooled over seeds and compared with the threshold that was fixed beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isnan, nan, sqrt
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from study import statistics
from study.claims.estimates import NoEstimate, Tables
from study.claims.evidence import STATISTICS
from study.statistics import MIN_SEEDS, Pooled, random_effects

SUPPORTED, NOT_SUPPORTED, INCONCLUSIVE = "supported", "not supported", "inconclusive"
LEVEL = 0.05  # for all claims together
MAX_SEEDS = 1_000  # to advise that many more is no advice
COLUMNS = ["claim", "section", "of", "value", "ci_low", "ci_high", "threshold", "p", "seeds", "verdict", "leans"]
COLUMNS += ["needed", "reason", "tables"]


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
    rows = ({key: row[key] for key in row if key != "stands"} | row["stands"] for row in _file()["claims"])
    return tuple(Claim(**row) for row in rows)


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
    tests = {claim.id: _test(claim, tables) for claim in claims}
    p_values = {name: test.p for name, test in tests.items() if isinstance(test, _Test) and test.p < inf}
    p, levels = (dict(zip(p_values, values, strict=True)) for values in statistics.holm(list(p_values.values())))
    rows = [_judge(claim, tests[claim.id], p.get(claim.id, nan), levels.get(claim.id, LEVEL)) for claim in claims]
    return pd.DataFrame(rows, columns=COLUMNS)


@dataclass(frozen=True)
class _Test:
    """The estimate that a claim hangs on (of `condition`), its threshold, and the two-sided p-value.

    `among`: how many estimates it is the most extreme of, so by how much p was multiplied (Bonferroni). `seeds`: the
    fewest of any estimate. `leans`: the verdict if the estimates were the truth.
    """

    pooled: Pooled
    condition: str
    threshold: float
    among: int
    p: float
    seeds: int
    leans: str


def _judge(claim: Claim, test: _Test | str, p: float, level: float) -> dict[str, Any]:
    """The row of a claim, from its test (or why there is none), its corrected p-value and the level of its interval."""
    row = {"claim": claim.id, "section": claim.section, "threshold": claim.threshold, "seeds": 0}
    row |= {"verdict": INCONCLUSIVE, "tables": " ".join(claim.tables), "p": p, "needed": nan}
    if isinstance(test, str):
        return row | {"reason": test}
    level, mean = level / test.among, test.pooled.mean
    low, high = test.pooled.interval(level) if test.p < inf else (nan, nan)
    if claim.unit in ("share", "correlation"):  # where such a number must lie
        low, high = max(low, -1.0), min(high, 1.0)
    row |= {"value": mean, "ci_low": low, "ci_high": high, "of": test.condition, "threshold": test.threshold}
    row |= {"seeds": test.seeds, "leans": test.leans if mean != test.threshold else ""}
    if test.seeds < MIN_SEEDS:
        row["reason"] = f"{test.seeds} of at least {MIN_SEEDS} seeds"
    elif p <= LEVEL:
        return row | {"verdict": test.leans}
    else:
        row["reason"] = "there is nothing to tell chance by" if isnan(p) else "the interval holds the threshold"
    return row | {"needed": _seeds_needed(test, level)}


@cache
def _file() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("claims.yaml").read_text(encoding="utf-8"))


def _test(claim: Claim, tables: Tables) -> _Test | str:
    try:
        evidence = STATISTICS[claim.statistic](tables)
    except NoEstimate as reason:
        return str(reason)
    if not any(evidence.values()):
        return "no such rows"
    pooled = {
        alternative: {name: random_effects(rows.value, rows.ci_low, rows.ci_high) for name, rows in conditions.items()}
        for alternative, conditions in evidence.items()
        if conditions and all(len(rows) for rows in conditions.values())
    }
    if not pooled:
        return "no seed has all that it takes"
    seeds = min(estimate.seeds for estimates in pooled.values() for estimate in estimates.values())
    return _test_beyond(pooled, claim, seeds)


def _test_beyond(pooled: dict[str, dict[str, Pooled]], claim: Claim, seeds: int) -> _Test:
    """Whether in some alternative all estimates are beyond the threshold, or in none: whichever the estimates say.

    Beyond is above or, for a claim that stands within ±threshold, on the far side of the end that is nearer. That one
    alternative is all beyond has the largest p-value of its estimates; that one of several is, the smallest of theirs
    times their number. That an alternative is not has the smallest of its estimates' times their number; that none is,
    the largest of theirs.
    """
    within, threshold = claim.side == "within", claim.threshold

    def is_beyond(mean: float) -> bool:
        return abs(mean) >= threshold if within else mean > threshold

    beyond = [name for name in pooled if all(is_beyond(estimate.mean) for estimate in pooled[name].values())]
    leans = SUPPORTED if (claim.side == "above") == bool(beyond) else NOT_SUPPORTED
    tests = []
    for alternative in beyond or pooled:
        estimates = pooled[alternative]
        ends = {name: -threshold if within and estimates[name].mean < 0 else threshold for name in estimates}
        p = {name: estimates[name].p_value(end, (end == threshold) == bool(beyond)) for name, end in ends.items()}
        name = (max if beyond else min)(p, key=lambda name: p[name])
        among = len(pooled) if beyond else len(p)
        condition = ", ".join(filter(None, (alternative, name)))
        tests.append(_Test(estimates[name], condition, ends[name], among, 2 * among * p[name], seeds, leans))
    return (min if beyond else max)(tests, key=lambda test: test.p)


def _seeds_needed(test: _Test, level: float) -> float:
    """Seeds after which the interval at that level would leave out the threshold, all else going on as it is."""
    pooled = test.pooled
    if not pooled.error > 0:
        return nan
    for seeds in range(max(MIN_SEEDS, pooled.seeds), MAX_SEEDS + 1):
        error = pooled.error * sqrt(pooled.seeds / seeds)
        df = pooled.df * (seeds - 1) / max(pooled.seeds - 1, 1)
        low, high = Pooled(pooled.mean, error, df, seeds).interval(level)
        if not low <= test.threshold <= high:
            return seeds
    return inf
