from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from ifcore.examples import Example
from study.chapters.empirical_study import figures, measure
from study.methods import COLOURS, NAMES
from tests.study.chapters.empirical_study.test_tables import HALF, RIGHT, SCORES, WRONG, attribution, ten_requests


def test_the_showcase_holds_what_each_method_ranks_highest():
    showcase = figures.showcase(attribution(SCORES), val_index=1)
    assert {method: example.label for method, example in showcase.top.items()} == {
        "datainf": "benign",
        "lissa": "benign",
        "gradsim": "harmful",
        "exact": "benign",
        "repsim": "harmful",
    }
    page = showcase._repr_html_()
    assert page.count("class right") == 2
    assert page.count("class wrong") == 3
    assert all(NAMES[name] in page for name in SCORES)


def test_text_from_the_data_is_escaped():
    evil = Example("<script>alert(1)</script>", "<b>&", "<i>")
    task = replace(attribution(SCORES), train=[evil] * 4, val=[evil] * 2)
    page = figures.showcase(task)._repr_html_()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<b>&" not in page
    assert "<i>" not in page


def test_the_heat_map_shades_by_rank_within_a_row(run):
    scores = {"gradsim": [RIGHT, HALF], "repsim": [WRONG, WRONG]}
    task = attribution(scores)
    task.scores["gradsim"][0] *= 1e9  # a row of another scale, and a heavy tail
    figure = figures.heatmap_figure(run, task)
    first, second = (axis.images[0].get_array() for axis in figure.axes[:2])
    np.testing.assert_allclose(first, [[1, 2 / 3, 1 / 3, 0], [1, 0, 2 / 3, 1 / 3]])
    np.testing.assert_allclose(second, [[0, 1 / 3, 1, 2 / 3]] * 2)
    assert [axis.get_title() for axis in figure.axes[:2]] == ["GradSim", "RepSim"]


def test_figures_are_saved_twice_and_alike_each_time(run):
    tasks = {"mixed_small": attribution(SCORES)}
    contents = []
    for _ in range(2):
        assert isinstance(figures.heatmap_figure(run, tasks["mixed_small"]), Figure)
        figures.curves_figure(run, tasks)
        saved = sorted(run.results.iterdir())
        contents.append([path.read_bytes() for path in saved])
    assert [path.name for path in saved] == ["curves.png", "curves.svg", "fig2_heatmap.png", "fig2_heatmap.svg"]
    assert contents[0] == contents[1]


def test_each_panel_has_an_axis_for_its_own_losses_and_cuts_none_off(run):
    low = attribution(SCORES)
    high = replace(low, dataset="grammars", history=low.history.assign(dev_loss=[9.0, 8.0, 7.0]))
    figure = figures.curves_figure(run, {"mixed_small": low, "grammars": high})
    for axis, highest in zip(figure.axes, (low.history.dev_loss.max(), 9, 3, 3), strict=True):  # then the norms
        bottom, top = axis.get_ylim()
        assert bottom == 0
        assert top > highest


def test_flat_loss_curves_keep_off_the_edge(run):
    task = attribution(SCORES)
    flat = task.history.assign(train_loss=[None, 9.0, 8.99], dev_loss=[9.0, 8.99, 8.98])
    figure = figures.curves_figure(run, {"mixed_small": replace(task, history=flat)})
    assert figure.axes[0].get_ylim()[1] > 9.2


def test_the_colours_are_one_a_method():
    assert set(COLOURS) == set(NAMES)
    assert len(set(COLOURS.values())) == len(COLOURS)


def test_the_dots_of_a_table_are_its_numbers_beside_chance_and_the_best_baseline(run):
    task = ten_requests(SCORES | {"tfidf": [RIGHT, HALF], "bm25": [WRONG, WRONG]})
    frame = measure.method_scores(run, 2, {"mixed_small": task})
    (axis,) = figures.scores_figure(run, 2, frame, {"mixed_small": task}).axes
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert set(names) == {NAMES[method] for method in SCORES}
    points = {round(line.get_ydata()[0], 2): line.get_xdata()[0] for line in axis.lines if line.get_marker() == "o"}
    place = names.index("GradSim")
    assert points[round(place + 0.16, 2)] == 50 and points[round(place - 0.16, 2)] == 100  # coverage, accuracy
    chance, baseline = (line.get_xdata()[0] for line in axis.lines if line.get_linestyle() in (":", "--"))
    assert (chance, baseline) == (50, 75)
    assert (run.results / "fig_table2.svg").exists()
