from dataclasses import replace

from ifcore.examples import Example
from study.chapters import appendix_b
from study.profile import Alignment
from tests.study.chapters.empirical_study.test_tables import SCORES, attribution


def test_settings_stand_beside_the_papers(run):
    rows = {row[0]: row[1:] for row in appendix_b.settings_table(run).rows}
    assert rows["`lora_rank`"] == ["4", "4"]
    assert rows["`epochs`"] == ["25", "25"]
    assert rows["`linear.points`"] == ["10, 20, 40, 80", ""]
    assert rows["`alignment`"] == ["none", ""]
    aligned = replace(run, profile=run.profile.model_copy(update={"alignment": Alignment(refusals=7)}))
    taught = {row[0]: row[1] for row in appendix_b.settings_table(aligned).rows if "alignment" in row[0]}
    assert taught["`alignment.refusals`"] == "7" and len(taught) == len(Alignment.model_fields)
    assert max(len(cell) for row in rows.values() for cell in row) < 60, "a long cell pushes the others off the page"


def test_every_departure_says_what_the_text_and_the_book_do_and_where_it_matters():
    table = appendix_b.departures_table()
    assert len(table.rows) >= 10
    assert all("–" not in (what, text, book, matters) for what, text, _, book, matters in table.rows)


def test_a_showcase_holds_an_example_of_each_class_and_its_text_means_nothing_to_the_page():
    evil = Example("<script>alert(1)</script> | **x** [a](b)\n# y", "`z` $1$", "a|b")
    task = replace(attribution(SCORES), train=[evil, *attribution(SCORES).train])
    table = appendix_b.examples_table(7, {"mixed_small": task}, "Mixed.")
    assert [row[1] for row in table.rows] == ["a&#124;b", "harmful", "benign"]
    markdown, page = table._repr_markdown_(), table._repr_html_()
    assert not any(mark in markdown for mark in ("<script", "**x", "](", "$1", "`z"))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; | **x** [a](b) # y" in page
