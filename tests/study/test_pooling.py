"""Pooling against a published analysis, closed forms and simulation."""

import numpy as np
import pytest

from study.pooling import pool
from study.statistics import interval_of_mean

# Deaths of tuberculosis among the vaccinated and the others: Colditz et al. 1994, as R's metafor has it (dat.bcg).
BCG = """4 119 11 128; 6 300 29 274; 3 228 11 209; 62 13536 248 12619; 33 5036 47 5761; 180 1361 372 1079; 8 2537 10
619; 505 87886 499 87892; 29 7470 45 7232; 17 1699 65 1600; 186 50448 141 27197; 5 2493 3 2338; 27 16886 29 17825"""


def pooled_of(values, errors):
    values, half = np.asarray(values, dtype=float), 1.959963984540054 * np.asarray(errors, dtype=float)
    return pool(values, values - half, values + half)


def test_the_trials_of_bcg_pool_as_metafor_pools_them():
    """rma(yi, vi, test="knha"): restricted maximum likelihood, Knapp and Hartung's error."""
    a, b, c, d = np.array([list(map(float, row.split())) for row in BCG.split(";")]).T
    values = np.log(a / (a + b) / (c / (c + d)))
    pooled = pooled_of(values, (1 / a - 1 / (a + b) + 1 / c - 1 / (c + d)) ** 0.5)
    assert (pooled.between, pooled.mean, pooled.error) == pytest.approx((0.3132, -0.7145, 0.1808), abs=1e-4)
    assert pooled.interval(0.05) == pytest.approx((-1.1084, -0.3206), abs=1e-4)
    low, high = pooled.prediction(0.05)
    half = (2.178813**2 * (0.3132 + 0.1808**2) + 1.959964**2 * pooled.within) ** 0.5
    assert (low, high) == pytest.approx((-0.7145 - half, -0.7145 + half), abs=2e-3)


def test_seeds_that_are_equally_certain_differ_by_what_their_variance_has_more():
    values = np.array([0.1, 0.5, 0.9])
    assert pooled_of(values, [0.1] * 3).between == pytest.approx(0.16 - 0.01, rel=1e-4)
    alike = pooled_of(values, [1.0] * 3)
    assert alike.between == 0 and alike.error == pytest.approx((1 / 3) ** 0.5)  # Knapp and Hartung's alone: 0.23
    assert alike.interval(0.05) == pytest.approx((0.5 - 4.302653 / 3**0.5, 0.5 + 4.302653 / 3**0.5))


def test_without_intervals_it_is_students_mean():
    values = np.array([0.1, 0.5, 0.9])
    for ends in ([np.nan] * 3, values):  # none, and one without width
        assert pool(values, ends, ends).interval(0.05) == pytest.approx(interval_of_mean(values))
    alike = pool([0.1 + 0.2, 0.3, 0.3], [np.nan] * 3, [np.nan] * 3)
    assert (alike.p_value(0, above=True), alike.p_value(0.5, above=True), alike.error) == (0, 1, 0)


def test_one_seed_has_its_own_interval_and_tells_nothing_of_others():
    one = pool([1.0], [0.8], [1.0])  # the longer side counts
    assert one.interval(0.05) == pytest.approx((0.8, 1.2))
    assert one.p_value(0, above=True) == 1 and np.isnan(one.prediction(0.05)).all()


@pytest.mark.parametrize("seeds", [3, 8])
@pytest.mark.parametrize("between", [0.0, 0.3, 1.0, 3.0])  # the s.d. between seeds in units of that within
def test_the_interval_misses_the_mean_and_the_prediction_a_further_seed_no_more_often_than_they_say(seeds, between):
    rng = np.random.default_rng([seeds, int(10 * between)])
    missed, draws = np.zeros(2), 1_500
    for _ in range(draws):
        within = rng.uniform(0.7, 1.4, seeds + 1)
        *values, further = rng.normal(size=seeds + 1) * np.hypot(within, between)
        pooled = pooled_of(values, within[:-1])
        for place, (truth, (low, high)) in enumerate(((0, pooled.interval(0.05)), (further, pooled.prediction(0.05)))):
            missed[place] += not low <= truth <= high
    mean, prediction = missed / draws
    assert mean < 0.065
    assert prediction < 0.07 and (prediction > 0.03 or seeds == 3 or between < 1)
