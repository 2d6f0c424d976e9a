"""Which examples are left out."""

import numpy as np
import pytest

from ifcore.examples import Example
from study import config
from study.chapters.counterfactual import subsets
from tests.study.pipeline.test_attributions import make_run

TRAIN = [Example(str(row), "", "harmful" if row % 3 == 0 else "benign") for row in range(12)]  # four harmful ones


def test_halves_keep_half_differ_and_are_the_same_again():
    masks = subsets.halves(31, 40, seed=3)
    assert (masks.sum(1) == 15).all() and len(np.unique(masks, axis=0)) == 40
    assert np.array_equal(masks[:7], subsets.halves(31, 7, seed=3))
    assert not np.array_equal(masks, subsets.halves(31, 40, seed=4))
    assert 0.2 < masks.mean(0).min() and masks.mean(0).max() < 0.8  # no example is in all or in none


def test_what_goes_is_highest_in_the_sum_over_the_explained():
    scores = np.random.default_rng(0).normal(size=(5, 12))
    (removal,) = [each for each in subsets.removals({"gradsim": scores}, TRAIN, [3], 0) if each.method == "gradsim"]
    sums = {row: sum(scores[m, row] for m in range(5)) for row in range(12)}
    assert set(removal.left_out) == set(sorted(sums, key=sums.get)[-3:])


@pytest.mark.parametrize("count", [2, 4, 6])
def test_the_oracle_takes_causes_only_as_long_as_there_are_any(count):
    removals = subsets.removals({}, TRAIN, [count], 0)
    (oracle,) = [each for each in removals if each.method == subsets.ORACLE]
    assert len(set(oracle.left_out)) == count
    assert sum(TRAIN[row].label == "harmful" for row in oracle.left_out) == min(count, 4)
    draws = [each.left_out for each in removals if each.method == "random"]
    assert len(set(draws)) == subsets.DRAWS and all(len(set(each)) == count for each in draws)


def test_random_removals_of_half_are_the_first_halves_so_that_they_are_retrained_once():
    draws = [each.left_out for each in subsets.removals({}, TRAIN, [6], 5) if each.method == "random"]
    masks = subsets.halves(12, 20, 5)
    assert draws == [tuple(np.flatnonzero(~row)) for row in masks[: subsets.DRAWS]]


def test_removing_all_is_refused():
    with pytest.raises(ValueError, match="^counterfactual.removed: 12 of 12 training examples; fewer must go$"):
        subsets.removals({}, TRAIN, [12], 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (None, "^counterfactual: none; "),
        ({"datasets": {"mathqa": None}}, "^counterfactual.datasets: mathqa; add mixed_small"),
    ],
)
def test_a_profile_that_cannot_have_the_chapter_is_told_why(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        next(subsets.variations(make_run(tmp_path, counterfactual=settings)))


def test_sizes_of_its_own_lie_apart_and_the_profiles_are_shared(tmp_path):
    sizes = {"train": 2, "val": 1}
    run = make_run(tmp_path, counterfactual={"datasets": {"mixed_small": None, "grammars_rule": sizes}})
    (_, shared), (_, apart) = subsets.variations(run)
    assert shared is run and apart.artifacts == run.artifacts / "counterfactual"
    assert isinstance(shared, config.Run) and list(apart.profile.datasets) == ["grammars_rule"]
