import pandas as pd

from study.claims import answer_figure
from tests.study.claims.test_evidence import counterfactuals


def test_a_panel_says_where_there_is_nothing_to_show(run):
    figure = answer_figure.answer_figure(run, counterfactuals(), {})
    assert [bool(axis.texts) for axis in figure.axes] == [True, False, False]
    assert (run.results / "fig_answer.svg").exists()
    assert all(axis.texts for axis in answer_figure.answer_figure(run, {}, {}).axes)


def test_published_seeds_are_filled_and_the_run_is_hollow(run):
    middle = answer_figure.answer_figure(run, counterfactuals(seeds=[0]), counterfactuals()).axes[1]
    faces = [line.get_markerfacecolor() == "white" for line in middle.lines if line.get_marker() == "o"]
    assert sum(faces) == len(faces) / 2 > 0


def test_a_method_whose_mean_is_over_other_data_sets_is_left_out(run):
    tables = counterfactuals()
    lds = tables["lds"]
    part = lds[(lds.method == "repsim") & (lds.dataset == lds.dataset.iloc[0])].assign(method="exact")
    assert lds.dataset.nunique() > 1
    left, middle, _ = answer_figure.answer_figure(run, tables | {"lds": pd.concat([lds, part])}, {}).axes
    place = [text.get_text() for text in left.get_yticklabels()].index("Exact")
    assert place not in {round(line.get_ydata()[0]) for line in middle.lines if line.get_marker() == "o"}
