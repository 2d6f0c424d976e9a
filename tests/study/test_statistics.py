import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ifcore import intervals, metrics
from study import statistics


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(size=7)
    truth = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    assert statistics.interval_of_mean(values) == pytest.approx(truth)
    assert np.isnan(statistics.interval_of_mean([1.0])).all()


def test_a_change_is_that_of_the_metric_and_its_interval_is_paired():
    rng = np.random.default_rng(0)
    before = rng.normal(size=(30, 8))
    train, val = list("aabbbccc"), ["a", "b", "c"] * 10
    after = before + 0.1 * rng.normal(size=before.shape)
    for metric in (metrics.accuracy, metrics.coverage):
        value, low, high = statistics.change(metric, before, after, train, val)
        old, new = (metric(scores, train, val) for scores in (before, after))
        assert value == pytest.approx(new.value - old.value)
        assert low < value < high and high - low < old.high - old.low  # unpaired it would be wider than either


def test_the_interval_of_a_change_is_agresti_and_mins():
    gained, lost, pairs = 5, 1, 20
    difference = (gained - lost) / (pairs + 2)
    spread = ((gained + lost + 1) - (gained - lost) ** 2 / (pairs + 2)) ** 0.5 / (pairs + 2)
    interval = statistics.interval_of_change([1] * gained + [-1] * lost + [0] * (pairs - gained - lost))
    assert interval == pytest.approx((difference - 1.959964 * spread, difference + 1.959964 * spread))
    low, high = statistics.interval_of_change([0] * 20)
    assert -low == high == pytest.approx(1.959964 / 22)


def test_over_seeds_one_estimate_keeps_its_interval_and_several_have_students():
    def rows(values, lows, highs):
        return pd.DataFrame({"value": values, "ci_low": lows, "ci_high": highs})

    assert statistics.pooled(rows([0.2], [0.1], [0.4])) == (0.2, 0.1, 0.4)
    _, *interval = statistics.pooled(rows([0.2, 0.4, 0.5], [0] * 3, [1] * 3))
    assert tuple(interval) == statistics.interval_of_mean([0.2, 0.4, 0.5])
    assert statistics.pooled(rows([-0.5, 0.5], [0] * 2, [0] * 2)) == (0, -1, 1)
    assert statistics.pooled(rows([-0.5, 0.5], [0] * 2, [0] * 2), -9, 2)[1:] == pytest.approx((-6.3531, 2), abs=1e-4)
    assert np.isnan(statistics.pooled(rows([], [], []))).all()


def test_mcnemars_test_counts_only_the_pairs_that_changed():
    before, after = [0] * 9 + [1] * 1 + [1] * 50, [1] * 9 + [0] * 1 + [1] * 50
    # 10 changed, 9 one way: 2 (1 + 10) / 2^10
    assert statistics.mcnemar(before, after) == pytest.approx(22 / 1024)
    assert statistics.mcnemar([1, 0], [1, 0]) == 1


def test_the_mean_over_seeds_has_the_interval_of_a_mean_of_independent_estimates():
    assert statistics.mean_over_seeds([1, 2], [0.7, 1.6], [1.3, 2.4]) == pytest.approx((1.5, 1.25, 1.75))
    assert statistics.mean_over_seeds([1], [0.7], [1.3]) == pytest.approx((1, 0.7, 1.3))


@pytest.mark.parametrize("clusters", [10, 30, 100])
@pytest.mark.parametrize(("one", "other"), [(0.5, 0.5), (0.9, 0.7), (0.97, 0.9), (0.97, 0.5)])
def test_paired_intervals_hold_the_truth_in_93_to_97_percent_where_pairs_are_clustered(clusters, one, other):
    """Clusters of 2 to 4 examples, about half of whose variance is shared; a share of 20 is found for each example."""
    rng = np.random.default_rng(0)
    cluster = np.repeat(np.arange(clusters), [2 + i % 3 for i in range(clusters)])

    def draw(p):
        shared, single = (rng.beta(8 * p, 8 * (1 - p), (2_000, n)) for n in (clusters, len(cluster)))
        return rng.binomial(20, np.where(rng.random(single.shape) < 0.7, shared[:, cluster], single)) / 20

    intervals = [statistics.mean_change(row, cluster)[1:] for row in draw(one) - draw(other)]
    coverage = np.mean([low <= one - other <= high for low, high in intervals])
    assert 0.93 <= coverage <= 0.97


def test_pairs_that_all_agree_leave_room_for_what_so_few_could_have_missed():
    mean, low, high = statistics.mean_change([0.0] * 10)
    assert mean == 0 and -low == high == intervals.wilson(0, 10)[1]
    assert np.isnan(statistics.mean_change([0.5], None)[1:]).all()
    assert np.isnan(statistics.mean_change([0.5, 0.4], ["a", "a"])[1:]).all()


def test_clusters_of_two_that_always_agree_count_as_one_pair_each():
    rng = np.random.default_rng(0)
    differences = rng.normal(size=12).clip(-1, 1)
    doubled, clusters = differences.repeat(2), np.arange(12).repeat(2)
    assert statistics.mean_change(doubled, clusters) == pytest.approx(statistics.mean_change(differences))
    hits = np.sign(differences.round())
    assert statistics.interval_of_change(hits.repeat(2), clusters) == pytest.approx(statistics.interval_of_change(hits))


@st.composite
def distances(draw, n):
    """A symmetric matrix of small whole numbers: ties are common."""
    upper = np.zeros((n, n))
    pairs = list(itertools.combinations(range(n), 2))
    values = draw(st.lists(st.integers(0, 4), min_size=len(pairs), max_size=len(pairs)))
    for pair, value in zip(pairs, values, strict=True):
        upper[pair] = value
    return upper + upper.T


def by_hand(a, b):
    """Mantel's test and its smallest p in loops, with SciPy's correlation."""
    n = len(a)
    pairs = list(itertools.combinations(range(n), 2))
    correlations = [
        stats.spearmanr([a[i, j] for i, j in pairs], [b[order[i], order[j]] for i, j in pairs]).statistic
        for order in itertools.permutations(range(n))
    ]
    bars = correlations[0], max(correlations)
    shares = [sum(r >= bar - 1e-9 for r in correlations) / len(correlations) for bar in bars]
    return correlations[0], *shares


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 4).flatmap(lambda n: st.tuples(distances(n), distances(n), st.permutations(range(n)))))
def test_mantel_counts_all_relabellings_of_the_models_and_does_not_depend_on_their_order(drawn):
    a, b, order = drawn
    pairs = np.triu_indices(len(a), 1)
    if not (np.ptp(a[pairs]) and np.ptp(b[pairs])):
        assert np.isnan(statistics.mantel(a, b)).all()
        return
    r, p, smallest = statistics.mantel(a, b)
    assert (r, p, smallest) == pytest.approx(by_hand(a, b))
    assert 1 / math.factorial(len(a)) <= smallest <= p <= 1
    reordered = (matrix[np.ix_(order, order)] for matrix in (a, b))
    assert statistics.mantel(*reordered) == pytest.approx((r, p, smallest))


def test_two_pairs_of_models_that_behave_alike_can_show_nothing_below_a_third():
    behaviour = np.array([0.0, 0.0, 1.0, 1.0])
    apart = np.abs(behaviour[:, None] - behaviour)
    parameters = np.array([[0, 1, 5, 6], [1, 0, 7, 8], [5, 7, 0, 2], [6, 8, 2, 0]])
    r, p, smallest = statistics.mantel(apart, parameters)
    assert r == pytest.approx(stats.spearmanr([0, 1, 1, 1, 1, 0], [1, 5, 6, 7, 8, 2]).statistic)
    assert p == smallest == pytest.approx(8 / 24)


def test_distances_that_are_not_symmetric_are_refused():
    with pytest.raises(ValueError, match="two symmetric matrices"):
        statistics.mantel(np.triu(np.ones((3, 3))), np.ones((3, 3)))
