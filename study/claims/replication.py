"""A run beside the published seeds: whether it reproduces one of them, or replicates what they say together."""

from collections.abc import Iterator, Sequence

import pandas as pd

from study.claims.claims import Claim
from study.claims.estimates import NoEstimate, Tables
from study.claims.evidence import STATISTICS
from study.claims.verdicts import joined, judge_claims
from study.pooling import pool

REPRODUCES, DIFFERS = "reproduces", "differs"
REPLICATES, OUTSIDE, OTHER_SIDE = "replicates", "outside", "on the other side"
COLUMNS = ["claim", "of", "seed", "value", "expected", "low", "high", "outcome"]
ROUNDING = 1e-9


def replications(claims: Sequence[Claim], tables: Tables, published: Tables) -> pd.DataFrame:
    """A row for each claim and seed of a run: its estimate beside that of the published seeds.

    Of each claim the estimate that it hangs on with the published seeds (`of`), or, where the run lacks that one, the
    nearest to the threshold of those that both have. A published seed of the same profile
    `reproduces` where the value is the published one, `expected`, and `differs` elsewhere. Another `replicates` where
    it is between `low` and `high`, where 95 % of further seeds' estimates fall, and on the same side of the threshold
    as the published mean, `expected`; else it is `outside`, or `on the other side`. Claims of which either has no
    estimate are left out.
    """
    alike = _profiles(tables) == _profiles(published)
    hangs_on = judge_claims(claims, published).set_index("claim").of
    rows = [row for claim in claims for row in _rows(claim, hangs_on[claim.id], tables, published, alike)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _profiles(tables: Tables) -> set[str]:
    return {name for frame in tables.values() if "profile" in frame for name in frame.profile.unique()}


def _rows(claim: Claim, preferred: str, tables: Tables, published: Tables, alike: bool) -> Iterator[tuple]:
    in_run, in_published = (_estimates(claim, each) for each in (tables, published))
    both = {name: rows for name, rows in in_published.items() if name in in_run}
    pooled = {name: pool(rows.value, rows.ci_low, rows.ci_high) for name, rows in both.items()}
    if not pooled:
        return
    nearest = min(pooled, key=lambda name: _distance(claim, pooled[name].mean))
    condition = preferred if preferred in pooled else nearest
    known, expected = in_published[condition].set_index("seed").value, pooled[condition]
    low, high = expected.prediction(0.05)
    for row in in_run[condition].itertuples():
        if alike and row.seed in known.index:
            value = float(known[row.seed])
            outcome = REPRODUCES if abs(row.value - value) <= ROUNDING else DIFFERS
            yield claim.id, condition, row.seed, row.value, value, None, None, outcome
        elif expected.seeds > 1:
            same = _stands(claim, row.value) == _stands(claim, expected.mean)
            outcome = OTHER_SIDE if not same else REPLICATES if low <= row.value <= high else OUTSIDE
            yield claim.id, condition, row.seed, row.value, expected.mean, low, high, outcome


def _estimates(claim: Claim, tables: Tables) -> dict[str, pd.DataFrame]:
    """Condition -> a row a seed; empty where there is no estimate."""
    try:
        evidence = STATISTICS[claim.statistic](tables)
    except NoEstimate:
        return {}
    return {
        joined(alternative, name): rows
        for alternative, conditions in evidence.items()
        for name, rows in conditions.items()
        if len(rows)
    }


def _stands(claim: Claim, value: float) -> bool:
    """Whether an estimate is on the side of the threshold on which the claim stands."""
    above = (abs(value) if claim.side == "within" else value) > claim.threshold
    return above == (claim.side == "above")


def _distance(claim: Claim, value: float) -> float:
    """The smaller, the nearer to a claim's threshold, or the farther beyond it."""
    return -abs(value) if claim.side == "within" else -value if claim.side == "below" else value
