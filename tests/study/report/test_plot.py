"""Intervals in rows: where they are drawn, and where the axis ends."""

import pytest
from matplotlib import pyplot as plt

from study.report.plot import forest

BLUE, HOLLOW = {"color": "#0072B2"}, {"color": "#0072B2", "mfc": "white"}


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_differences_of_shares_are_in_points_and_the_shared_axis_ends_at_what_is_possible():
    panels = {"first": [(0, (0.5, -3.0, 2.0), BLUE), (1.2, (0.1, 0.0, 0.2), HOLLOW)], "second": []}
    _, axes = forest(panels, ["low", "high"], "ahead (points)", in_points=True)
    first, second = axes.flat
    _, interval, point, _, hollow = first.lines  # after the line at 0
    assert interval.get_xdata().tolist() == [-300, 200] and point.get_xdata().tolist() == [50]
    assert hollow.get_ydata().tolist() == [1.2] and hollow.get_markerfacecolor() == "white"
    assert first.get_xlim() == second.get_xlim() == (-104, 104)
    assert [text.get_text() for text in first.get_yticklabels()] == ["low", "high"]


def test_panels_beside_each_other_are_three_at_most_and_each_has_its_own_axis_unless_in_points():
    panels = {str(number): [(0, (number, number - 1, number + 1), BLUE)] for number in range(4)}
    figure, axes = forest(panels, ["row"], "rise", legend={"a method": BLUE})
    assert axes.shape == (2, 3)
    assert [axis.get_title() for axis in axes.flat if axis.get_visible()] == list(panels)
    assert axes.flat[0].get_xlim() != axes.flat[3].get_xlim()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a method"]
