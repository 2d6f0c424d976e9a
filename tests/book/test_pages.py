import re

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from study.schema import COLUMNS, RUN_COLUMNS

COMPUTED = ["executed/empirical_study", "executed/approximation_error", "executed/convergence"]
COMPUTED += ["executed/parameter_change", "executed/controls", "executed/sensitivity", "executed/facts"]
COMPUTED += ["executed/counterfactual", "executed/your_own", "executed/speed", "executed/appendix_b"]
COMPUTED += ["executed/introduction", "executed/conclusion"]
GUIDE = ["guide/run", "guide/seeds", "guide/data", "guide/own", "guide/published", "guide/extend", "guide/card"]
PAGES = ["preliminaries", "appendix_a", "glossary", *GUIDE, *COMPUTED]


def test_the_book_has_its_chapters_and_nothing_is_fetched_when_one_opens(book):
    """The build itself fails on any warning: broken references of every kind among them."""
    for name in PAGES:
        page = (book / "book" / f"{name}.html").read_text(encoding="utf-8")
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
        fetched = [tag for tag in tags if re.search(r"""(?:src|href)=["'](?:https?:)?//""", tag)]
        assert fetched == []


def test_tables_and_figures_keep_the_papers_numbers(book):
    pages = "".join((book / "book" / f"{name}.html").read_text(encoding="utf-8") for name in COMPUTED)
    for label, number in (
        ("tab-asr", "Table 1"),
        ("tab-harmful", "Table 2"),
        ("tab-class", "Table 3"),
        ("tab-backdoor", "Table 4"),
        ("tab-runtime", "Table 5"),
        ("tab-delta", "Table 6"),
        ("tab-data-7", "Table 7"),
        ("tab-data-11", "Table 11"),
        ("fig-hubs", "Figure 12"),  # beyond the paper, after its eight
        ("fig-showcase", "Figure 1"),
        ("fig-heatmap", "Figure 2"),
        ("fig-errors", "Figure 3"),
        ("fig-lissa", "Figure 4"),
        ("fig-convergence", "Figure 5"),
        ("fig-drift", "Figure 6"),
        ("fig-linear", "Figure 7"),
        ("fig-layers", "Figure 8"),
    ):
        after = pages.split(f'id="{label}"', 1)[1]
        assert re.search(r'<span class="caption-number">([^<]*) </span>', after)[1] == number


def test_the_run_leaves_tidy_tables_and_figures_and_the_page_shows_their_numbers(book, checkout):
    results = checkout / "results" / "smoke" / "seed-0"
    frame = pd.read_csv(results / "table2_harmful.csv")
    assert list(frame.columns) == [*COLUMNS, *RUN_COLUMNS]
    assert (results / "fig2_heatmap.png").exists()
    assert (results / "fig2_heatmap.svg").exists()
    for name in ("fig3_error", "fig4_lissa", "fig5_convergence", "fig6_drift", "fig7_linear", "fig8_layers"):
        assert (results / f"{name}.csv").exists() and (results / f"{name}.png").exists()
    for name in ("table5_runtime", "table6_delta", "graded_mixtures", "loo_truth"):
        assert (results / f"{name}.csv").exists()
    page = (book / "book" / "executed" / "empirical_study.html").read_text(encoding="utf-8")
    for row in frame[frame.method == "repsim"].itertuples():
        assert f"{row.value * 100:.1f}<br>[{row.ci_low * 100:.1f}, {row.ci_high * 100:.1f}]" in page


@pytest.mark.parametrize("name", COMPUTED)
def test_a_page_shows_no_error_no_progress_bar_and_no_unfilled_field(book, name):
    page = (book / "book" / f"{name}.html").read_text(encoding="utf-8")
    assert "Traceback" not in page
    assert "/s]" not in page
    assert not re.search(r"(?<!\$)\{[a-z_]+\.[a-z_.]+\}", page), "an f-string without its f"


NO_WORDS = r"\b(?:pypi|hub|path|random):\w|(?<![\w.])~?/(?:[\w.-]+/)+|\b\w+/\w+/\w"  # sources, paths
NO_WORDS += r"|\w+Path\(|object at 0x|\bnan\b|\bNone\b"
TELL_OF_SOURCES = {"executed/appendix_b", "executed/your_own"}  # every setting; how to name one's own model


@pytest.mark.parametrize("name", sorted(set(COMPUTED) - TELL_OF_SOURCES))
def test_no_sentence_has_a_models_source_a_path_or_a_python_object(book, name):
    article = BeautifulSoup((book / "book" / f"{name}.html").read_text(encoding="utf-8"), "html.parser").article
    for part in article.select("script, style, pre, nav, .made, .explorer"):
        part.decompose()
    for sentence in article.select("p, li, figcaption, summary, td"):
        assert not re.search(NO_WORDS, sentence.get_text(" ")), sentence.get_text(" ")


@pytest.mark.parametrize("name", COMPUTED)
def test_every_figure_says_in_words_and_numbers_what_it_shows(book, name):
    page = (book / "book" / f"{name}.html").read_text(encoding="utf-8")
    for tag in re.findall(r"<img\b[^>]*_images/[^>]*>", page):
        (words,) = re.findall(r'alt="([^"]*)"', tag)
        assert "_images" not in words and len(words) > 20, tag


@pytest.mark.parametrize("name", ["executed/empirical_study", "executed/introduction", "executed/convergence"])
def test_tables_and_figures_have_their_files_and_the_cell_that_made_them(book, name):
    page = (book / "book" / f"{name}.html").read_text(encoding="utf-8")
    files = re.findall(r'href="([^"]*_downloads/[^"]+\.(?:csv|svg))"', page)
    assert {file.rpartition(".")[2] for file in files} == {"csv", "svg"}
    for file in files:
        assert (book / "book" / f"{name}.html").parent.joinpath(file).is_file()
    assert "<summary>the cell that made it</summary>" in page


def test_the_names_of_methods_and_data_sets_carry_what_the_glossary_says(book):
    page = (book / "book" / "executed" / "empirical_study.html").read_text(encoding="utf-8")
    for name in ("DataInf", "RepSim before", "Mixed (small)"):
        link = rf'<a class="term[^>]*glossary.html#term-[^>]*title="[^"]{{20,}}"[^>]*>(?:<span[^>]*>)?{re.escape(name)}'
        assert re.search(link, page), name


def test_a_page_says_what_a_link_to_it_shows(book):
    for name, picture in (("executed/introduction", r"_images/\w+\.png"), ("glossary", r"_static/book\.png")):
        page = (book / "book" / f"{name}.html").read_text(encoding="utf-8")
        assert re.search(rf'<meta property="og:image" content="[^"]*{picture}"', page)
        assert re.search(r'<meta property="og:description" content="[^"]{40,}"', page)
        assert re.search(r'<meta name="description" content="[^"]{40,}"', page)


def shown(checkout, chapter, words):
    """The output, as plain text, of the one cell of a chapter that holds these words."""
    cells = nbformat.read(checkout / "book" / "executed" / f"{chapter}.ipynb", as_version=4).cells
    (cell,) = (cell for cell in cells if cell.cell_type == "code" and words in cell.source)
    assert not cell.metadata.get("tags"), "a cell that teaches is on the page, with its code"
    return cell.outputs[-1].get("text") or cell.outputs[-1]["data"]["text/plain"]


def test_the_cells_that_are_the_method_give_the_numbers_of_the_tables(book, checkout):
    results = checkout / "results" / "smoke" / "seed-0"
    table = pd.read_csv(results / "table2_harmful.csv").set_index(["dataset", "method", "metric"]).value["mixed_small"]
    lines = shown(checkout, "empirical_study", "metrics.accuracy").splitlines()[1:]
    assert len(lines) == 5
    for method, accuracy, coverage in map(str.split, lines):
        assert float(accuracy) == round(100 * table[method, "accuracy"], 1)
        assert float(coverage) == round(100 * table[method, "coverage"], 1)
    assert float(shown(checkout, "approximation_error", "linear.exact_influence").split(": ")[1]) < 1e-10
    table = pd.read_csv(results / "table6_delta.csv").set_index(["dataset", "metric"]).value["harmful-mixed"]
    delta, kl = re.fullmatch(
        r"‖Δθ‖ (.+), KL at the first token (.+)\n", shown(checkout, "parameter_change", "adapter_distance.distances")
    ).groups()
    assert (delta, kl) == (f"{table.delta:.2f}", f"{table.kl_first:.3g}")


@pytest.mark.parametrize("name", PAGES)
def test_no_page_hides_code_behind_a_bar(book, name):
    assert "Show code cell" not in (book / "book" / f"{name}.html").read_text(encoding="utf-8")
