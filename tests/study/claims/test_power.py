"""What eight seeds can tell: the design's power, and how often it is wrong where nothing is there, by simulation.

A world has a truth for each estimate that a primary claim rests on; a seed's estimate differs from it by how seeds
differ and by its own error. The components are those of the seeds that were looked at.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from study.claims import verdicts
from study.claims.claims import claims
from study.claims.evidence import STATISTICS

PRIMARY = [claim for claim in claims() if claim.kind == "primary"]
SEEDS = range(10, 10 + verdicts.MIN_SEEDS)
CELLS = ("mixed_small", "mixed_hard", "backdoor_1")
SUPPORTED, NOT_SUPPORTED = verdicts.SUPPORTED, verdicts.NOT_SUPPORTED


@dataclass(frozen=True)
class Component:
    """Of one statistic: the truth of each condition, how seeds differ (s.d.), and a seed's own standard error."""

    truths: tuple[float, ...]
    between: float
    within: float


LEADS = {  # statistic -> component; of seed 0, the first of those to be looked at
    "repsim_in_labels": Component((0.18, 0.18, 0.18), 0.05, 0.02),  # DataInf, LiSSA, GradSim
    "influence_in_lds": Component((0.60, 0.58, 0.46, 0.60, 0.53, 0.49), 0.08, 0.06),  # cells × RepSim, before
    "repsim_in_lds": Component((0.0, 0.05, 0.05), 0.03, 0.06),
    "influence_in_removal": Component((0.045, 0.023), 0.01, 0.011),  # RepSim, at random of the class
    "influence_over_texts": Component((0.53, 0.32, 0.27, 0.53, 0.58), 0.08, 0.04),
}


def judge(monkeypatch, components, rng):
    """The verdicts of one world's eight seeds."""
    for name, component in components.items():
        conditions = {}
        for place, truth in enumerate(component.truths):
            error = np.hypot(component.between, component.within)
            values, half = truth + error * rng.normal(size=len(SEEDS)), 1.96 * component.within
            rows = {"seed": SEEDS, "value": values, "ci_low": values - half, "ci_high": values + half}
            conditions[f"condition {place}"] = pd.DataFrame(rows)
        monkeypatch.setitem(STATISTICS, name, lambda tables, of=conditions: {"": of})
    return verdicts.judge_claims(PRIMARY, {"lds": pd.DataFrame({"seed": SEEDS})}).set_index("claim").verdict


def test_eight_seeds_decide_the_first_four_in_nine_of_ten_worlds_like_those_seen(monkeypatch):
    rng, worlds = np.random.default_rng(0), 100
    found = pd.DataFrame([judge(monkeypatch, LEADS, rng) for _ in range(worlds)])
    power = (found == SUPPORTED).mean()
    assert (power[["repsim_labels", "influence_lds", "repsim_lds", "influence_removal"]] >= 0.9).all(), power
    assert power["model_needed"] >= 0.9, power


@pytest.mark.parametrize("between", [0.0, 1.0])
def test_where_nothing_is_there_one_world_in_twenty_at_most_has_a_false_verdict(monkeypatch, between):
    """Truths on the threshold, each claim resting on one estimate, which is where an error is likeliest; that nothing
    is there is then no error, that something is, is. RepSim's score is on its margin: either verdict is one."""
    at = {claim.statistic: claim.threshold if claim.side == "within" else 0.0 for claim in PRIMARY}
    nothing = {name: Component((truth,), 0.05 * between, 0.05) for name, truth in at.items()}
    rng, worlds = np.random.default_rng([1, int(between)]), 300
    found = pd.DataFrame([judge(monkeypatch, nothing, rng) for _ in range(worlds)])
    false = (found == SUPPORTED) | ((found == NOT_SUPPORTED) & (found.columns == "repsim_lds"))
    assert false.any(axis=1).mean() <= 0.07  # 0.05, and what 300 worlds leave to chance


def test_where_an_effect_is_the_smallest_of_interest_it_is_seldom_said_to_be_none(monkeypatch):
    effects = {claim.statistic: Component((claim.smallest or 0.0,), 0.05, 0.05) for claim in PRIMARY}
    rng = np.random.default_rng(2)
    found = pd.DataFrame([judge(monkeypatch, effects, rng) for _ in range(200)]).drop(columns="repsim_lds")
    assert (found == NOT_SUPPORTED).any(axis=1).mean() <= 0.07
