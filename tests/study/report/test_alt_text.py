import numpy as np
from matplotlib import pyplot as plt

from study.methods import COLOURS
from study.report.alt_text import LONGEST, describe_figure


def test_a_line_is_described_by_its_ends_and_a_colour_by_its_method():
    figure, (left, right) = plt.subplots(1, 2)
    left.plot([0, 5, 10], [50.0, 90.0, 61.25], label="first")
    left.axhline(3)
    left.set(title="Left", xlabel="step", ylabel="coverage (%)")
    right.plot([1, 2, 4], [0.1, np.nan, 0.3], color=COLOURS["repsim"])
    right.plot([1, 2], [0, 1], color=COLOURS["repsim"])  # an interval
    plt.close(figure)
    assert describe_figure(figure) == (
        "2 panels. Left: coverage (%) over step: first from 50 at 0 to 61.2 at 10. RepSim from 0.1 at 1 to 0.3 at 4."
    )


def test_a_place_with_a_name_is_told_by_it_and_what_rounding_leaves_is_0():
    figure, axis = plt.subplots()
    axis.plot([-0.1, 0.9, 1.9], [40.0, 50.0, -2e-15], label="LiSSA")
    axis.set_xticks([0, 1, 2], ["before", "first", "last"])
    plt.close(figure)
    assert describe_figure(figure) == "LiSSA from 40 (before) to 0 (last)."


def test_a_point_is_described_by_its_row_and_a_bar_by_its_name():
    figure, axis = plt.subplots()
    axis.plot(7.5, 1.2, marker="o", color=COLOURS["lissa"])
    axis.set_yticks([0, 1], ["one seed", "two seeds"])
    plt.close(figure)
    assert describe_figure(figure) == "two seeds, LiSSA 7.5."
    figure, axis = plt.subplots()
    axis.barh(["a", "b"], [1.5, 20])
    axis.set_xlabel("seconds")
    plt.close(figure)
    assert describe_figure(figure) == "seconds: a 1.5, b 20."


def test_an_image_is_described_by_its_range_and_a_long_text_is_cut():
    figure, axis = plt.subplots()
    axis.imshow([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    plt.close(figure)
    assert describe_figure(figure) == "2 rows, 3 columns of values from 0 to 5."
    figure, axis = plt.subplots()
    for i in range(200):
        axis.plot([0, 1, 2], [i, i, i], label=f"line {i}")
    plt.close(figure)
    assert len(describe_figure(figure)) <= LONGEST and describe_figure(figure).endswith(" …")


def test_points_without_lines_are_told_by_their_number_and_ends():
    figure, axis = plt.subplots()
    axis.scatter([0, 2, 1], [-1, 5, 3])
    assert "3 points, from 0 to 2 across and -1 to 5 upwards" in describe_figure(figure)
