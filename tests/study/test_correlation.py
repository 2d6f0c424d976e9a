import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from study import correlation


@st.composite
def distances(draw, n):
    """A symmetric matrix of small whole numbers: ties are common."""
    upper = np.zeros((n, n))
    pairs = list(itertools.combinations(range(n), 2))
    for pair, value in zip(
        pairs, draw(st.lists(st.integers(0, 4), min_size=len(pairs), max_size=len(pairs))), strict=True
    ):
        upper[pair] = value
    return upper + upper.T


def by_hand(a, b):
    """Mantel's test and its smallest p in loops, with SciPy's correlation."""
    n = len(a)
    pairs = list(itertools.combinations(range(n), 2))
    found = [
        stats.spearmanr([a[i, j] for i, j in pairs], [b[order[i], order[j]] for i, j in pairs]).statistic
        for order in itertools.permutations(range(n))
    ]
    at_least = [sum(each >= bar - 1e-9 for each in found) / len(found) for bar in (found[0], max(found))]
    return found[0], *at_least


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 4).flatmap(lambda n: st.tuples(distances(n), distances(n), st.permutations(range(n)))))
def test_mantel_counts_all_relabellings_of_the_models_and_does_not_depend_on_their_order(drawn):
    a, b, order = drawn
    pairs = np.triu_indices(len(a), 1)
    if not (np.ptp(a[pairs]) and np.ptp(b[pairs])):
        assert np.isnan(correlation.mantel(a, b)).all() and np.isnan(correlation.smallest_p(a, b))
        return
    r, p = correlation.mantel(a, b)
    smallest = correlation.smallest_p(a, b)
    assert (r, p, smallest) == pytest.approx(by_hand(a, b))
    assert 1 / math.factorial(len(a)) <= smallest <= p <= 1
    again = (each[np.ix_(order, order)] for each in (a, b))
    assert correlation.mantel(*again) == pytest.approx((r, p))


def test_two_pairs_of_models_that_behave_alike_can_show_nothing_below_a_third():
    behaviour = np.array([0.0, 0.0, 1.0, 1.0])
    apart = np.abs(behaviour[:, None] - behaviour)
    parameters = np.array([[0, 1, 5, 6], [1, 0, 7, 8], [5, 7, 0, 2], [6, 8, 2, 0]])
    r, p = correlation.mantel(apart, parameters)
    assert r == pytest.approx(stats.spearmanr([0, 1, 1, 1, 1, 0], [1, 5, 6, 7, 8, 2]).statistic)
    assert p == correlation.smallest_p(apart, parameters) == pytest.approx(8 / 24)


def test_distances_that_are_not_symmetric_are_refused():
    with pytest.raises(ValueError, match="two symmetric matrices"):
        correlation.mantel(np.triu(np.ones((3, 3))), np.ones((3, 3)))
