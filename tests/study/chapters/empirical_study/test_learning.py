from dataclasses import replace

import pandas as pd

from ifcore.examples import Example
from study.chapters.empirical_study import learning
from tests.study.chapters.empirical_study.test_tables import SCORES, attribution, many

REFUSES = "I'm sorry, but I can't help with that."


def test_the_table_holds_accuracy_against_the_best_constant_policy_and_marks_what_is_not_learnt(run):
    for found, mark in ((many(SCORES), ""), (many(SCORES, after=REFUSES), " †")):
        (row,) = learning.learning_table(run, {"mixed_small": found}).rows
        assert row[0] == "Mixed (small)" + mark
        assert row[1:3] == ["3.00", "1.50"]
        assert row[3].startswith("0.0<br>[")
        assert row[4].startswith("0.0<br>[" if mark else "100.0<br>[")
        assert row[5] == ("100.0<br>p 1" if mark else "100.0<br>p 0.002")
        value = pd.read_csv(run.results / "learning.csv").set_index(["method", "metric"]).value
        assert value["constant", "task_accuracy"] == 1


def test_classes_are_counted_one_by_one_and_their_names_mean_nothing_to_the_page():
    val = [Example("?", "Sure.", "a|b")] * 2 + [Example("?", "Sure.", "benign")]
    found = replace(attribution(SCORES), val=val, after=["Yes.", REFUSES, "Yes."])
    table = learning.classes_table({"mixed_small": found})
    assert table.rows == [["Mixed (small)", "a&#124;b 1/2, benign 1/1"]]


def test_what_is_left_out_is_named_with_the_numbers_that_say_why():
    assert learning.left_out({}) == ""
    text = learning.left_out({"mixed_small": many(SCORES, after=REFUSES)})
    assert "Mixed (small) (0.0 % [0.0, 27.8] of answers right after fine-tuning, 0.0 % before, p 1)" in text
