"""What is retrained, and what of it fits."""

import re
from itertools import chain

import numpy as np
import pytest

from ifcore.retraining_plan import DRAWS, WITHIN, fit, make_plan, without

LABELS = ["a", "b", "b"] * 6
NAMES = [*"abcdefgh", "random"]


def test_halves_are_the_same_however_many_and_apart_from_those_for_the_damping():
    plan, longer = make_plan(LABELS, 8, tune=True), make_plan(LABELS, 20, tune=True, seed=0)
    assert np.array_equal(plan.halves, longer.halves[:8]) and np.array_equal(plan.tuning, longer.tuning[:4])
    assert not np.array_equal(plan.halves, make_plan(LABELS, 8, seed=1).halves)
    assert 0.1 < longer.halves.mean(0).min() and longer.halves.mean(0).max() < 0.9  # none is in all or in none


def test_what_goes_is_highest_in_the_sum_over_the_explained_or_drawn():
    scores = np.random.default_rng(0).normal(size=(5, 18))
    plan = make_plan(LABELS, removed=4)
    chosen = plan.removed_by({"mine": scores, "random": scores}, "a", seed=0)
    sums = {row: sum(scores[m, row] for m in range(5)) for row in range(18)}
    assert set(chosen["mine"][0].left_out) == set(sorted(sums, key=sums.get)[-4:])
    assert {LABELS[row] for one in chosen[WITHIN] for row in one.left_out} == {"a"}
    assert {LABELS[row] for one in chosen["random"] for row in one.left_out} == {"a", "b"}
    assert len(chosen["random"]) == len({one.left_out for one in chosen[WITHIN]}) == DRAWS
    assert {len(one.left_out) for of in chosen.values() for one in of} == {4}


def test_the_plan_lists_what_is_known_before_any_score():
    plan = make_plan(LABELS, 8, replicated=4, alone=True)
    names = [retraining.name for retraining in plan.subsets()]
    assert len(names) == len(set(names)) == 1 + 8 + 4 + 18 and names[0] == "all"
    assert [without(mask).name for mask in plan.halves] == names[1:9] and names[9] == f"{names[1]}-seed-1"


def test_halves_and_removals_are_retrained_from_as_many_seeds_as_are_asked_for():
    scores = {"mine": np.random.default_rng(0).normal(size=(5, 18)), "random": np.zeros((5, 18))}
    plan = make_plan(LABELS, 8, 4, removed=4, alone=False, retrainings=3, removals_from=2)
    assert [each.replicate for each in plan.subsets()] == [0] + [0] * 8 + [1] * 8 + [2] * 8  # no others for a ceiling
    chosen = plan.removed_by(scores, "a", seed=0)
    assert [each.replicate for each in chosen["mine"]] == [0, 1] and len(
        {each.left_out for each in chosen["mine"]}
    ) == 1
    assert [each.replicate for each in chosen["random"]] == [0, 1, 0, 1]  # draws take turns
    assert plan.removals(scores) == sum(map(len, chosen.values()))


def test_counts_are_chosen_from_the_classes():
    assert (make_plan(LABELS).removed, make_plan(LABELS).replicated, make_plan(LABELS).alone) == (3, 8, True)
    assert (make_plan(["a"] * 40).removed, make_plan(["a"] * 40).alone) == (10, False)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (LABELS, {"subsets": 3}, "subsets: 3; an interval takes 4 or more"),
        (LABELS, {"replicated": 2}, "replicates: 2, of 16 subsets; give 0, or 4 to 16"),
        (LABELS, {"removed": 6}, "remove: 6; the smallest class has 6 examples, give 0 to 5"),
        (["a"], {}, "subsets: 16, and 1 examples of these classes have 0 halves; give more rows"),
        (["a", "b", "c"], {}, "subsets: 16, and 3 examples of these classes have 3 halves"),
        (LABELS, {"removed": -1}, "remove: -1;"),
    ],
)
def test_counts_that_cannot_be_had_are_refused_in_a_line(labels, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make_plan(labels, **options)


def test_minutes_are_spent_on_halves_then_removals_then_each_alone_then_more_halves():
    plan = make_plan(["a", "b"] * 10)

    def cost(retraining):
        return 10 if len(retraining.left_out) < 2 else 5

    shapes = {}
    for budget in (75, 130, 310, 520, 10_000):
        chosen = fit(plan, cost, NAMES, budget)
        shapes[budget] = len(chosen.halves), chosen.replicated, chosen.removed, chosen.alone
        scores = {name: np.random.default_rng(0).random((3, 20)) for name in NAMES}
        decided = chosen.removed_by(scores, "a", 0).values() if chosen.removed else []
        spent = sum(cost(retraining) for retraining in [*chosen.subsets(), *chain.from_iterable(decided)])
        assert spent <= budget
    assert shapes == {
        75: (8, 4, 0, False),
        130: (16, 8, 0, False),
        310: (18, 9, 5, False),
        520: (20, 10, 5, True),
        10_000: (64, 32, 5, True),
    }
    with pytest.raises(ValueError, match="minutes: 0.5; 4 halves with what belongs to them take 0.8, give more"):
        fit(plan, cost, NAMES, budget=30)
    alone = fit(make_plan(["a", "b"] * 10, replicated=0), cost, NAMES, 75)
    assert (len(alone.halves), alone.replicated) == (13, 0)  # nobody asked for a ceiling
