import numpy as np
import pytest
from scipy import stats

from ifcore.study import statistics


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(size=7)
    truth = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    assert statistics.interval_of_mean(values) == pytest.approx(truth)
    assert np.isnan(statistics.interval_of_mean([1.0])).all()


def test_a_slope_is_scipys_and_levels_of_groups_are_not_in_its_spread():
    x, y = np.random.default_rng(0).normal(size=(2, 9))
    fit = stats.linregress(x, y)
    half = stats.t.ppf(0.975, 7) * fit.stderr
    truth = fit.slope, fit.slope - half, fit.slope + half
    assert statistics.interval_of_slope(x, y) == pytest.approx(truth)
    groups = np.arange(9) % 3
    design = np.column_stack([x, *(groups == group for group in range(3))])
    coefficients, residual, *_ = np.linalg.lstsq(design, y)
    spread = stats.t.ppf(0.975, 5) * (residual[0] / 5 * np.linalg.inv(design.T @ design)[0, 0]) ** 0.5
    found = statistics.interval_of_slope(x, y + 100 * groups, groups)
    assert found == pytest.approx((coefficients[0], coefficients[0] - spread, coefficients[0] + spread))


def test_a_slope_of_too_few_points_is_none_and_one_of_a_constant_is_flat():
    assert np.isnan(statistics.interval_of_slope([1, 1], [2, 3])).all()
    slope, low, high = statistics.interval_of_slope([1, 2], [2, 3])
    assert slope == pytest.approx(1) and np.isnan([low, high]).all()
    assert statistics.interval_of_slope([1, 2, 4], [5, 5, 5]) == (0, 0, 0)


def test_a_paired_difference_is_scipys_t_interval_and_few_pairs_have_none():
    one, other = np.random.default_rng(0).normal(size=(2, 8))
    expected = stats.ttest_rel(one, other).confidence_interval()
    value, *ends = statistics.paired(one, other)
    assert value == pytest.approx(one.mean() - other.mean())
    assert ends == pytest.approx([expected.low, expected.high])
    assert np.isnan(statistics.paired(one[:5], other[:5])[1:]).all()
    assert statistics.paired([1] * 6, [0] * 6) == (1, 1, 1)


def test_mcnemars_test_counts_only_the_pairs_that_changed():
    before, after = [0] * 9 + [1] * 1 + [1] * 50, [1] * 9 + [0] * 1 + [1] * 50
    # 10 changed, 9 one way: 2 (1 + 10) / 2^10
    assert statistics.mcnemar(before, after) == pytest.approx(22 / 1024)
    assert statistics.mcnemar([1, 0], [1, 0]) == 1


def test_the_mean_over_seeds_has_the_interval_of_a_mean_of_independent_estimates():
    assert statistics.mean_over_seeds([1, 2], [0.7, 1.6], [1.3, 2.4]) == pytest.approx((1.5, 1.25, 1.75))
    assert statistics.mean_over_seeds([1], [0.7], [1.3]) == pytest.approx((1, 0.7, 1.3))
