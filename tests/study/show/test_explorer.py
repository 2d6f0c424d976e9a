from dataclasses import replace

from ifcore.examples import Example
from ifcore.study.show import explorer
from tests.study.empirical_study.test_tables import SCORES, attribution

EVIL = Example("<script>document.title = 'ran'</script>", "</div><img src=x onerror=alert(1)>", "<b>")


def test_a_panel_holds_what_each_method_ranks_highest_with_its_class():
    found = attribution(SCORES)
    (panels,) = explorer.explore({"mixed_small": found}, top=1).panels.values()
    first, second = panels.values()
    assert first.count("1. harmful, class right") == 4  # all but LiSSA
    assert first.count("1. benign, class wrong") == 1
    assert second.count("1. harmful, class right") == 2  # GradSim and RepSim


def test_text_from_the_data_is_escaped():
    found = replace(attribution(SCORES), train=[EVIL] * 4, val=[EVIL] * 2)
    page = explorer.explore({"mixed_small": found})._repr_html_()
    assert page.count("<script") == 1  # its own
    assert "<img" not in page
    assert "&lt;script&gt;document.title" in page


def test_the_widget_has_a_panel_for_every_choice():
    found = {"mixed_small": attribution(SCORES), "grammars": attribution(SCORES, "grammars")}
    task, shown = explorer.explore(found).widget().children
    assert list(task.options) == ["Mixed (small)", "Grammars"]
    for box in shown.children:
        choice, stack = box.children
        assert len(choice.options) == len(stack.children) == 2


def test_long_text_is_cut_and_examples_are_spread_over_the_data():
    long = Example("x" * 1000, "y", "harmful")
    found = replace(attribution({"repsim": [[1, 2, 3, 4]] * 50}), val=[long] * 50)
    (panels,) = explorer.explore({"mixed_small": found}, examples=5).panels.values()
    assert [title.split(".")[0] for title in panels] == ["1", "13", "25", "38", "50"]
    assert all("x" * 301 not in panel and "…" in panel for panel in panels.values())
