import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ifcore.examples import Example
from study.methods import NAMES
from study.report import explorer
from tests.study.chapters.empirical_study.test_tables import SCORES, attribution

ENDS = "<script>document.title = 'ran'</script></script><!--\u2028\u2029\ud800"
EVIL = Example(ENDS, "</div><img src=x onerror=\"document.title = 'ran'\">&lt;b&gt;", "<b>\"'`${1}")
FOLDER = Path(explorer.__file__).parent


def made_up(train, val, methods, prompt=60, response=120, seed=0):
    """Random texts of ten classes, and random scores."""
    draw = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz    "))

    def examples(count):
        return [
            Example(*("".join(draw.choice(letters, size)) for size in (prompt, response)), f"class {i % 10}")
            for i in range(count)
        ]

    scores = {method: draw.normal(size=(val, train)) for method in methods}
    return SimpleNamespace(train=examples(train), val=examples(val), scores=scores)


def page_data(view):
    page = view._repr_html_()
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)[1])


def unpacked(data, task, name, val):
    """A method's rank and percent of each training example, decoded from what `pack_task` wrote."""
    (row,) = (row for row in data["tasks"][task]["rows"] if row["name"] == name)
    total, written = len(data["tasks"][task]["train"]), row["ranks"][val]
    width = len(written) // total
    ranks = []
    for i in range(total):
        rank = 0
        for digit in written[i * width : (i + 1) * width]:
            rank = 64 * rank + data["digits"].index(digit)
        ranks.append(rank)
    bits = "".join(f"{data['digits'].index(digit):06b}" for digit in row["scores"][val])
    percents = [100 - bits[:place].count("0") for place, bit in enumerate(bits) if bit == "1"]
    return ranks, [percents[rank - 1] for rank in ranks]


@pytest.mark.parametrize("total", [1, 2, 63, 64, 300, 5000])
def test_ranks_and_scores_are_those_of_a_slow_loop(total):
    explained = made_up(total, 3, ["exact"], prompt=5, response=5)
    explained.scores["exact"] = explained.scores["exact"].round(1)  # ties
    data = page_data(explorer.explore({"mixed_small": explained}, examples=3))
    for val, scores in enumerate(explained.scores["exact"].tolist()):
        ordered, largest = sorted(scores, reverse=True), max(map(abs, scores)) or 1
        ranks, percents = unpacked(data, 0, "Exact", val)
        assert ranks == [1 + ordered.index(score) for score in scores]
        assert np.abs(np.array(percents) - 100 * np.array(scores) / largest).max() <= 0.5 + 1e-9


def test_ties_share_a_rank_and_what_is_no_number_comes_last():
    explained = replace(attribution({"tfidf": [[0, 0, 0, 0]] * 2, "lissa": [[np.inf, np.nan, -4, 2]] * 2}))
    data = page_data(explorer.explore({"mixed_small": explained}))
    assert unpacked(data, 0, "TF-IDF", 0) == ([1, 1, 1, 1], [0, 0, 0, 0])
    assert unpacked(data, 0, "LiSSA", 0) == ([1, 4, 3, 2], [100, -101, -100, 50])


def test_nothing_in_a_text_a_class_or_a_name_can_end_the_script_and_all_of_it_arrives():
    explained = replace(attribution(SCORES), train=[EVIL] * 4, val=[EVIL] * 2)
    view = explorer.explore({ENDS: explained, "grammars": explained})
    page = view._repr_html_()
    assert page.count("<script") == page.count("</script") == 2  # the data and its own
    assert "<img" not in page and "<b>" not in page and "<!--" not in page
    assert view.json().isascii() and not set("<>&") & set(view.json())
    task = page_data(view)["tasks"][0]
    shown = ENDS.replace("\ud800", "?")  # half a character, which no page can hold
    assert task["train"][0] == [0, shown, EVIL.response] and task["classes"] == [EVIL.label] and task["title"] == shown
    assert re.fullmatch(r"\w+", task["key"], re.ASCII)
    panel = view.widget().children[-1].value
    assert "<script" not in panel and "<img" not in panel and "&lt;script&gt;document.title" in panel


def test_methods_stand_in_the_order_of_the_tables_with_controls_apart():
    scores = {name: [[4, 3, 2, 1]] * 2 for name in ("random", "mine", "cosine", *reversed(SCORES))}
    (task,) = page_data(explorer.explore({"mixed_small": attribution(scores)}))["tasks"]
    assert [(row["name"], row["group"]) for row in task["rows"]] == [
        *((NAMES[name], 0) for name in SCORES),
        ("mine", 0),
        (NAMES["cosine"], 1),
        (NAMES["random"], 2),
    ]


def test_five_hundred_training_examples_take_less_than_400_kilobytes():
    explained = made_up(500, 20, list(NAMES)[:14], prompt=120, response=180)
    view = explorer.explore({"grammars": explained})
    assert len(view.tasks[0].val) == 10
    assert len(view._repr_html_()) < 400_000


def test_what_is_too_much_for_a_page_has_fewer_examples_and_shorter_texts(monkeypatch):
    explained = made_up(200, 20, list(NAMES), prompt=400, response=400)
    whole = explorer.explore({"grammars": explained})
    monkeypatch.setattr(explorer, "LARGEST", 100_000)
    less = explorer.explore({"grammars": explained})
    assert len(whole.json()) > 100_000 >= len(less.json())
    assert len(less.tasks[0].val) < len(whole.tasks[0].val) == 10
    assert max(len(text.prompt) for text in less.tasks[0].train) < 300
    assert all(len(text.prompt) == 300 for text in whole.tasks[0].train)


def test_long_text_is_cut_and_examples_are_spread_over_the_data():
    long = Example("x" * 1000, "y", "harmful")
    explained = replace(attribution({"repsim": [[1, 2, 3, 4]] * 50}), val=[long] * 50)
    (task,) = explorer.explore({"mixed_small": explained}, examples=5).tasks
    assert task.numbers == [1, 13, 25, 38, 50] and task.total == 50
    assert {text.prompt for text in task.val} == {"x" * 299 + "…"}


@pytest.fixture
def shown():
    """A widget of two tasks, by the names of its parts."""
    mixed = attribution(SCORES)
    train = [replace(row, prompt=f"Prompt {i}", response=row.response + "é" * i) for i, row in enumerate(mixed.train)]
    explained = {"mixed_small": replace(mixed, train=train), "grammars": attribution(SCORES | {"bm25": [[0] * 4] * 2})}
    first, second, panel = explorer.explore(explained, top=1).widget().children
    names = ("task", "val", "previous", "following", "label", "search", "top", "train", "panel")
    return SimpleNamespace(**dict(zip(names, (*first.children, *second.children, panel), strict=True)))


def first_of(panel, name):
    """The title of the example that a method ranks highest."""
    return re.search(rf"</i>{name}</p><ol><li>.*?<b>(.*?)</b>", panel.value)[1]


def test_the_buttons_of_the_widget_turn_to_another_validation_example(shown):
    assert [title for title, _ in shown.val.options] == ["1 of 2: What?", "2 of 2: What?"]
    assert first_of(shown.panel, "DataInf") == "1. harmful, class right, score 100\N{NO-BREAK SPACE}%"
    before = shown.panel.value
    shown.following.click()
    assert shown.val.value == 1 and shown.panel.value != before
    assert first_of(shown.panel, "DataInf") == "1. benign, class wrong, score 100\N{NO-BREAK SPACE}%"
    shown.previous.click()
    assert shown.val.value == 0 and shown.panel.value == before
    shown.previous.click()  # around
    assert shown.val.value == 1


def test_the_widget_narrows_by_class_and_by_words_and_ranks_stay_those_of_all(shown):
    shown.label.label = "benign"
    assert "2 of 4 training examples" in shown.panel.value
    assert first_of(shown.panel, "RepSim") == "3. benign, class wrong, score 50\N{NO-BREAK SPACE}%"
    assert [i for _, i in shown.train.options] == [2, 3]
    shown.label.label = "All classes"
    shown.search.value = "PROMPT 1"
    assert [i for _, i in shown.train.options] == [1]
    assert first_of(shown.panel, "RepSim") == "2. harmful, class right, score 75\N{NO-BREAK SPACE}%"
    shown.search.value = "ÉÉÉ"
    assert [i for _, i in shown.train.options] == [3]
    shown.search.value = "nothing has this"
    assert "No training example matches" in shown.panel.value and shown.train.options == ()


def test_the_widget_marks_the_selected_example_in_every_column_with_its_rank(shown):
    shown.top.value = 10
    shown.train.value = 3
    assert len(re.findall(r'<div class="\w*" aria-current="true">', shown.panel.value)) == 5
    places = re.findall(r"Selected: rank (\d) of 4", shown.panel.value)
    assert places == [str(1 + sorted(rows[0], reverse=True).index(rows[0][3])) for rows in SCORES.values()]
    assert shown.panel.value.count("explorer-column selected") == 5


def test_the_widget_turns_to_another_task(shown):
    shown.task.value = 1
    assert "BM25" in shown.panel.value and "Baselines" in shown.panel.value
    assert "rank 1 of 4 (tied), score 0\N{NO-BREAK SPACE}%" in shown.panel.value
    shown.task.value = 0
    assert "BM25" not in shown.panel.value
