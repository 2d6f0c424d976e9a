"""The explorer on a page opened from disk, in a browser without a network, by mouse and by keyboard."""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ifcore.examples import Example
from study.methods import LEFT_OUT, NAMES
from study.report import explorer
from tests.book.browser import CHROMIUM, browser
from tests.study.chapters.empirical_study.test_tables import SCORES, attribution
from tests.study.report.test_explorer import EVIL

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open the page with")

AXE = find_spec("axe_playwright_python")
AXE_VIOLATIONS = "axe.run('.explorer').then((result) => result.violations.map((violation) => violation.id))"
GRID = ".explorer-grid"
TASK, VAL, CLASS, SEARCH, TOP = (f".explorer-controls label:nth-of-type({i}) > *" for i in range(1, 6))
NEXT = ".explorer-controls button:last-child"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("browser")) as page:
        page.size(1280)
        yield page


def fruit(label, number):
    return Example(f"{label.title()} number {number}, where does it grow?", f"On {label} tree {number}.", label)


def fruit_attribution():
    """Random scores of all methods and baselines: 3 apples and 4 pears in alternation, 2 validation examples."""
    train = [fruit(*row) for row in (("apple", 0), ("pear", 1), ("apple", 2), ("pear", 3), ("apple", 4), ("pear", 5))]
    train.append(fruit("pear", 6))
    draw = np.random.default_rng(0)
    scores = {name: draw.permuted(np.tile(np.arange(7.0), (2, 1)), axis=1) for name in NAMES if name != LEFT_OUT}
    scores["bm25"] = np.zeros((2, 7))
    return SimpleNamespace(train=train, val=[fruit("apple", 7), fruit("pear", 8)], scores=scores)


COLUMNS = [0, 2, 4, 1, 3, 5, 6]  # training examples in the order of the heat map's columns


def write_page(folder, *explorers):
    """Write a page with explorers, and a title that none of them may change; returns its address."""
    body = "<p>Between them.</p>".join(item._repr_html_() for item in explorers)
    page = (
        f"<!DOCTYPE html><html lang='en'><meta charset='utf-8'><title>still</title><main><h1>A page</h1>{body}</main>"
    )
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    return file.as_uri()


def text(page, selector):
    return page.value(f"document.querySelector({selector!r}).innerText")


def texts(page, selector):
    return page.value(f"[...document.querySelectorAll({selector!r})].map((node) => node.innerText)")


def link(page):
    return page.value("location.hash")


def rank(scores, train):
    """The page's text about a training example's rank, computed by a slow loop."""
    tied = " (tied)" if list(scores).count(scores[train]) > 1 else ""
    percent = round(100 * scores[train] / max(map(abs, scores))) if any(scores) else 0
    place = 1 + sum(other > scores[train] for other in scores)
    return f"rank {place} of {len(scores)}{tied}, score {percent}\N{NO-BREAK SPACE}%"


def test_every_method_and_control_shows_what_it_ranks_highest_and_where_the_selected_one_is(page, tmp_path):
    fruits = fruit_attribution()
    page.open(write_page(tmp_path, explorer.explore({"mixed_small": fruits}, top=2)))
    assert texts(page, ".explorer-list > p:first-child") == [NAMES[name] for name in fruits.scores]
    assert texts(page, ".explorer-group")[-1] == "Baselines, which never see the fine-tuned model"
    for val in range(2):
        selected = int(np.argmax(fruits.scores["datainf"][0]))  # at first, and it stays
        assert texts(page, ".explorer-places") == [
            f"Selected: {rank(rows[val], selected)}" for rows in fruits.scores.values()
        ]
        tops = texts(page, ".explorer-list li b")
        expected = []
        for rows in fruits.scores.values():
            for i in sorted(range(7), key=lambda i, row=rows[val]: -row[i])[:2]:  # noqa: B023
                right = "right" if fruits.train[i].label == fruits.val[val].label else "wrong"
                place, score = rank(rows[val], i).replace(" (tied)", "").split(" of 7, ")
                expected.append(f"{place.removeprefix('rank ')}. {fruits.train[i].label}, class {right}, {score}")
        assert tops == expected
        page.point(NEXT)


def test_the_mouse_reads_a_cell_selects_it_and_turns_to_another_validation_example(page, tmp_path):
    fruits = fruit_attribution()
    page.open(write_page(tmp_path, explorer.explore({"mixed_small": fruits})))
    assert link(page) == ""
    page.point(GRID, across=4.5 / 7, down=0.01, click=False)
    expected = f"DataInf: training example 4, pear, {rank(fruits.scores['datainf'][0], 3)}"
    assert text(page, ".explorer-readout p") == expected
    assert link(page) == ""
    page.point(GRID, across=2.5 / 7, down=0.99)
    *_, (last, scores) = fruits.scores.items()
    assert text(page, ".explorer-readout p") == f"{NAMES[last]}: training example 5, apple, {rank(scores[0], 4)}"
    assert link(page) == "#explorer-mixed_small-1-5"
    assert "Apple number 4" in text(page, ".explorer-chosen")
    page.point(NEXT)
    assert link(page) == "#explorer-mixed_small-2-5"
    assert text(page, ".explorer-readout p").endswith(rank(scores[1], 4))
    page.point(NEXT)  # around
    assert link(page) == "#explorer-mixed_small-1-5"
    page.point(".explorer-list li:nth-child(2) button")
    second = int(np.argsort(-fruits.scores["datainf"][0])[1])
    assert link(page) == f"#explorer-mixed_small-1-{second + 1}"
    pressed = texts(page, "[aria-pressed='true'] b")
    assert pressed and all(fruits.train[second].label in name for name in pressed)


def test_the_keyboard_reaches_the_heat_map_moves_the_selection_and_pins_it(page, tmp_path):
    fruits = fruit_attribution()
    page.open(write_page(tmp_path, explorer.explore({"mixed_small": fruits})))
    for _ in range(20):
        page.press("Tab")
        if page.value("document.activeElement.getAttribute('role')") == "grid":
            break
    page.press("Home")
    for key, column, method in (
        ("ArrowRight", 1, "datainf"),
        ("ArrowDown", 1, "lissa"),
        ("PageDown", 3, "lissa"),
        ("End", 6, "lissa"),
        ("ArrowRight", 6, "lissa"),
        ("ArrowUp", 6, "datainf"),
        ("ArrowUp", 6, "datainf"),
        ("PageUp", 3, "datainf"),
        ("PageUp", 0, "datainf"),
        ("ArrowLeft", 0, "datainf"),
        ("PageDown", 3, "datainf"),
    ):
        page.press(key)
        train = COLUMNS[column]
        assert link(page) == f"#explorer-mixed_small-1-{train + 1}", key
        label = page.value(
            "(() => { const grid = document.activeElement;"
            "const cell = document.getElementById(grid.getAttribute('aria-activedescendant'));"
            "return cell.previousSibling.textContent + ': ' + cell.getAttribute('aria-label'); })()"
        )
        place = rank(fruits.scores[method][0], train)
        assert label == f"{NAMES[method]}: training example {train + 1}, {fruits.train[train].label}: {place}"
    page.press("Enter", "ArrowRight")
    assert texts(page, ".explorer-places")[0].split("\n\n") == [
        f"Selected: {rank(fruits.scores['datainf'][0], COLUMNS[4])}",
        f"Pinned: {rank(fruits.scores['datainf'][0], COLUMNS[3])}",
    ]
    page.press("Escape")
    assert "Pinned" not in text(page, ".explorer-lists")


def test_a_class_and_words_narrow_what_is_ranked_and_ranks_stay_those_of_all(page, tmp_path):
    fruits = fruit_attribution()
    page.open(write_page(tmp_path, explorer.explore({"mixed_small": fruits}, top=10)))
    page.choose(CLASS, "1")
    assert text(page, "[role=status]") == "4 of 7 training examples"
    ranked = sorted((1, 3, 5, 6), key=lambda i: -fruits.scores["datainf"][0][i])
    shown = [f"{rank(fruits.scores['datainf'][0], i)}".split()[1] + "." for i in ranked]
    assert [words.split()[0] for words in texts(page, ".explorer-list li b")][:4] == shown
    page.point(SEARCH)
    page.press(*"NUMBER 3")
    assert text(page, "[role=status]") == "1 of 7 training examples"
    assert page.value(f"document.querySelector('{GRID}').getAttribute('aria-colcount')") == "1"
    page.press(*"!")
    assert text(page, "[role=status]") == "No training example matches"
    page.press(*["Backspace"] * 2)
    page.choose(TOP, "3")
    page.choose(CLASS, "-1")


def test_a_link_opens_on_what_it_names_and_one_that_names_nothing_says_so(page, tmp_path):
    fruits = fruit_attribution()
    address = write_page(tmp_path, explorer.explore({"mixed_small": fruits, "my data": fruits}))
    page.open(f"{address}#explorer-my_data-2-6")
    assert page.value(f"document.querySelector('{TASK}').value") == "1"
    assert text(page, ".explorer-readout p").endswith(rank(fruits.scores["datainf"][1], 5))
    page.value("location.hash = '#explorer-mixed_small-1-3'")
    page.settle()
    assert page.value(f"document.querySelector('{TASK}').value") == "0"
    assert text(page, ".explorer-readout p").endswith(rank(fruits.scores["datainf"][0], 2))
    for nothing in ("mixed_small-3-1", "mixed_small-1-8", "mixed_small-1-0", "other-1-1"):
        page.value(f"location.hash = '#explorer-{nothing}'")
        page.settle()
        assert "not on this page" in text(page, "[role=status]")
        assert text(page, ".explorer-readout p").endswith(rank(fruits.scores["datainf"][0], 2))


def test_two_on_a_page_are_apart(page, tmp_path):
    both = explorer.explore({"mixed_small": fruit_attribution()})
    address = write_page(tmp_path, both, both)
    page.open(f"{address}#explorer2-mixed_small-2-4")
    first, second = texts(page, ".explorer-readout")
    assert "training example 4" in second
    page.point(".explorer:first-of-type .explorer-controls button")
    assert link(page).startswith("#explorer-mixed_small-2-")
    assert texts(page, ".explorer-readout")[1] == second


def test_no_text_runs_as_a_script_and_nothing_is_asked_of_the_network(page, tmp_path):
    evil = replace(attribution(SCORES), train=[EVIL] * 4, val=[EVIL] * 2)
    page.errors.clear(), page.requests.clear()
    page.open(write_page(tmp_path, explorer.explore({EVIL.prompt: evil, "mixed_small": attribution(SCORES)})))
    page.point(NEXT)
    page.point(GRID)
    page.press("ArrowLeft", "Enter", "ArrowRight")
    page.choose(TASK, "1")
    page.value("location.hash = '#explorer-<img src=x onerror=alert(1)>-1-1'")
    page.choose(TASK, "0")
    assert page.value("document.title") == "still"
    assert page.value("document.images.length") == 0
    assert "<img src=x" in text(page, ".explorer-card")
    assert not page.errors
    assert all(url.startswith(("file:", "about:")) for url in page.requests)


@pytest.mark.parametrize("width", [390, 320])
def test_a_telephone_shows_it_without_scrolling_sideways(page, tmp_path, width):
    page.size(width)
    long = replace(attribution(SCORES), train=[Example("w" * 500, "x", f"class {'v' * 90} {i}") for i in range(4)])
    page.open(write_page(tmp_path, explorer.explore({"mixed_small": fruit_attribution(), "grammars": long})))
    for task in ("0", "1"):
        page.choose(TASK, task)
        assert page.value("document.documentElement.scrollWidth") <= width
        assert page.value("document.querySelector('canvas').getBoundingClientRect().width") > width / 3
    page.size(1280)


@pytest.mark.skipif(AXE is None, reason="make torture installs axe")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_everybody_can_read_it_whatever_is_chosen(page, tmp_path, theme, width):
    """No violation of what axe-core knows of accessibility, at first, with a pin, and where nothing matches."""
    page.size(width)
    page.open(
        write_page(tmp_path, explorer.explore({"mixed_small": fruit_attribution(), "grammars": fruit_attribution()}))
    )
    page.value(f"document.documentElement.dataset.theme = '{theme}'")
    page.value(Path(AXE.submodule_search_locations[0], "axe.min.js").read_text(encoding="utf-8") + "; 0")
    for keys in ((), ("Home", "Enter", "ArrowRight"), ("Escape",)):
        if keys:
            page.point(GRID)
            page.press(*keys)
        assert page.value(AXE_VIOLATIONS) == []
    page.point(SEARCH)
    page.press(*"no such words")
    assert page.value(AXE_VIOLATIONS) == []
    page.size(1280)


def test_the_built_page_answers_too(book, page):
    built = book / "book" / "executed" / "empirical_study.html"
    assert built.stat().st_size < 3_000_000
    page.errors.clear(), page.requests.clear()
    page.open(built.as_uri())
    assert texts(page, ".explorer-list > p:first-child")[-1] == NAMES["random"]
    page.choose(TASK, "2")
    page.point(NEXT)
    page.point(GRID)
    assert page.value("/^#explorer-[a-z_]+-2-[0-9]+$/.test(location.hash)")
    before = link(page)
    page.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight")
    assert link(page) != before
    page.size(390)
    assert page.value("document.documentElement.scrollWidth") <= 390
    page.size(1280)
    assert not [url for url in page.requests if url.startswith("http")]
