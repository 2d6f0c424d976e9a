import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifcore.intervals import share, wilson


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 500), st.floats(0, 1))
def test_the_ends_of_wilsons_interval_are_1_96_standard_errors_away(trials, hits):
    """An end p solves |hits − p| = z √(p (1 − p)/n), also where the successes are fractional."""
    z = 1.959963984540054
    for end in wilson(hits * trials, trials):
        assert (hits - end) ** 2 == pytest.approx(z * z * end * (1 - end) / trials, abs=1e-12)


def share_of_intervals_with(values, truth):
    """The share of rows whose interval contains the truth."""
    intervals = [share(row) for row in values]
    return np.mean([interval.low - 1e-12 <= truth <= interval.high + 1e-12 for interval in intervals])


@pytest.mark.parametrize("n", [10, 30, 100])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.97])
@pytest.mark.parametrize(("concentration", "size"), [(5, 20), (10, 12), (10, 40), (1e6, 12)])
def test_the_interval_of_a_mean_share_holds_the_truth_in_93_to_97_percent(n, p, concentration, size):
    """Shares of `size` trials; their chances are drawn from a beta distribution, the narrower the `concentration`.

    2,000 draws may be off by half a point. Where fewer than one whole miss is expected among all n, most samples look
    alike whatever the truth is; there the interval errs on the wide side.
    """
    rng = np.random.default_rng(0)
    values = rng.binomial(size, rng.beta(concentration * p, concentration * (1 - p), (2_000, n))) / size
    assert 0.925 <= share_of_intervals_with(values, p) <= (0.975 if n * (1 - p) >= 1 - 1e-9 else 0.995)


@pytest.mark.parametrize("n", [10, 30, 100])
@pytest.mark.parametrize("p", [0.5, 0.9, 0.97])
def test_the_interval_of_hits_holds_the_truth_in_93_to_97_percent_or_in_the_next_step_above_95(n, p):
    """Exactly: the binomial probability of the counts whose interval contains p.

    It moves in steps. Where it is above 97 %, it would be below 95 % without the rarest of those counts.
    """
    chances = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    holding = [k for k in range(n + 1) if (m := share([1.0] * k + [0.0] * (n - k))).low <= p <= m.high]
    probability = sum(chances[k] for k in holding)
    assert probability >= 0.9295
    assert probability <= 0.97 or probability - min(chances[holding[0]], chances[holding[-1]]) < 0.95


def test_of_no_hits_in_ten_the_interval_is_the_textbooks():
    assert wilson(0, 10) == pytest.approx((0, 0.2775328), abs=1e-6)


def test_an_interval_counts_clusters_that_always_agree_once():
    rng = np.random.default_rng(0)
    values = rng.random(12)
    doubled = share(values.repeat(2), np.arange(12).repeat(2))
    assert vars(doubled) == pytest.approx(vars(share(values)))
    hits = share([1.0, 1.0, 0.0, 0.0, 1.0, 1.0], ["a", "a", "b", "b", "c", "c"])
    assert (hits.low, hits.high) == pytest.approx(wilson(2, 3))


def test_an_interval_has_width_where_all_examples_agree():
    expected = {"value": 1, "low": 1 / (1 + 1.959963984540054**2 / 20), "high": 1}
    assert vars(share([1.0] * 20)) == pytest.approx(expected)
    for value in (0.2, 0.25):  # with rounding and without
        interval = share([value] * 20)
        assert (interval.low, interval.high) == pytest.approx(wilson(value * 20, 20))


@pytest.mark.parametrize(
    ("values", "clusters", "message"),
    [([], None, "values: none; at least one"), ([1.0, 0.5], ["a"], "clusters: 1 for 2 values; give one for each")],
)
def test_values_without_number_or_cluster_are_refused(values, clusters, message):
    with pytest.raises(ValueError, match=message):
        share(values, clusters)
