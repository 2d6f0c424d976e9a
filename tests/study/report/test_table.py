"""How numbers are written in the cells of tables and in sentences."""

import numpy as np
import pytest

from study.report import table


@pytest.mark.parametrize(
    ("value", "spread", "written"),
    [
        (0.78, 0.00528, "0.780 ± 0.005"),
        (0.000615, 0.000027, "0.000615 ± 0.000027"),
        (9381, 571.4, "9,381 ± 571"),
        (0.5, 1233.0, "0.500 ± 1,233"),
        (0.5, np.nan, "0.500"),
    ],
)
def test_a_spread_has_no_more_decimals_than_its_value(value, spread, written):
    assert table.plus_minus(value, spread, table.significant) == written


def test_no_number_is_a_minus_before_a_zero():
    assert table.interval(-0.004, 0.126) == " [0.00, 0.13]"
    assert table.interval(np.nan, np.nan) == ""
    assert table.points(-0.0004, -0.1, 0.1).startswith("+0.0 [")


def test_an_interval_of_points_ends_at_all_of_them():
    assert table.points(0.5, -0.2, 1.4) == "+50.0 [-20.0, 100.0] points"
    assert table.points_cell(0.5, -0.2, 1.4) == "+50.0<br>[-20.0, 100.0]"


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.1, 0.3, "up"), (-0.3, -0.1, "down"), (-0.1, 0.3, "inconclusive"), (0.1, 0.1, "inconclusive")],
)
def test_an_interval_of_no_width_shows_nothing(low, high, verdict):
    assert table.difference_verdict(low, high, "up", "down") == verdict
