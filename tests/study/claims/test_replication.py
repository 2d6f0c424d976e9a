"""A run beside the published seeds, by hand."""

import pandas as pd
import pytest

from study.claims.claims import claims
from study.claims.replication import replications
from study.claims.verdicts import judge_claims
from tests.study.claims.test_evidence import counterfactuals

CLAIMS = [claim for claim in claims() if claim.id in ("influence_removal", "repsim_lds")]


def outcomes(**run):
    return replications(CLAIMS, counterfactuals(**run), counterfactuals()).set_index("claim").outcome


def test_a_published_seed_reproduces_where_its_values_are_the_same():
    frame = replications(CLAIMS, counterfactuals(seeds=[12]), counterfactuals())
    assert set(frame.outcome) == {"reproduces"} and list(frame.value) == list(frame.expected)
    assert outcomes(seeds=[12], lead=0.21).influence_removal == "differs"


def test_the_same_seed_of_another_profile_is_another_seed():
    mine, published = (
        {name: frame.assign(profile=profile) for name, frame in counterfactuals(seeds=seeds).items()}
        for profile, seeds in (("mine", [12]), ("laptop", range(10, 18)))
    )
    assert set(replications(CLAIMS, mine, published).outcome) == {"replicates"}


@pytest.mark.parametrize(
    ("lead", "outcome"), [(0.2, "replicates"), (0.22, "replicates"), (0.5, "outside"), (-0.2, "on the other side")]
)
def test_another_seed_replicates_within_what_seeds_differ_by_and_on_the_same_side(lead, outcome):
    assert outcomes(seeds=[3], lead=lead).influence_removal == outcome


@pytest.mark.parametrize(("repsim", "outcome"), [(0.0, "replicates"), (0.1, "outside"), (-0.3, "on the other side")])
def test_a_claim_within_a_margin_has_two_other_sides(repsim, outcome):
    assert outcomes(seeds=[3], repsim=repsim).repsim_lds == outcome


def test_what_either_has_no_estimate_of_is_left_out():
    assert replications(CLAIMS, {}, counterfactuals()).empty
    some = replications(CLAIMS, {"lds": counterfactuals(seeds=[3])["lds"]}, counterfactuals())
    assert list(some.claim) == ["repsim_lds"]


def test_the_expected_value_is_the_pooled_one_with_the_ends_of_its_prediction():
    (row,) = replications(CLAIMS[1:], counterfactuals(seeds=[3]), counterfactuals()).itertuples()
    assert row.expected == pytest.approx(0.2, abs=1e-3) or pd.notna(row.low)
    assert row.low < row.expected < row.high


def test_a_row_is_of_the_estimate_that_the_verdict_hangs_on():
    """The one that is least certain, not the one that is nearest to the threshold."""
    ahead, published = [claim for claim in claims() if claim.id == "influence_lds"], counterfactuals()
    lds = published["lds"]
    wide = (lds.dataset == "mixed_small") & (lds.against == "repsim")
    published["lds"] = lds.assign(value=lds.value + wide * (0.05 + 0.1 * (-1) ** lds.seed))
    (row,) = replications(ahead, counterfactuals(seeds=[3]), published).itertuples()
    assert row.of == judge_claims(ahead, published).of.item() == "over repsim, mixed_small"
