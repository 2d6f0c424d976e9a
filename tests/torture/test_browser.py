"""Every page in a browser without a network, light and dark, on a desk and on a phone."""

import shutil
from urllib.parse import unquote, urldefrag

import pytest
from bs4 import BeautifulSoup

from tests.book.conftest import book, built, checkout  # noqa: F401

sync_api = pytest.importorskip("playwright.sync_api", reason="make torture installs it")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="make torture installs it")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
OPTIONS = {"resultTypes": ["violations"], "preload": False}  # it would fetch what lies on disk
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open pages with")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(scope="module")
def pages(book):  # noqa: F811
    found = sorted(path for path in book.joinpath("book").rglob("*.html") if "_static" not in path.parts)
    assert len(found) >= 15
    return [book / "index.html", *found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_asks_for_nothing_that_is_not_there_and_everybody_can_read_it(browser, pages, theme, width):
    """No failed request, no error on the console, mathematics set, nothing wider than the screen, no serious violation
    of what axe-core knows of accessibility."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, offline=True)
    context.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
    wrong = []
    for file in pages:
        page = context.new_page()
        page.on("requestfailed", lambda request, file=file: wrong.append(f"{file.name}: {request.url}"))
        page.on("pageerror", lambda error, file=file: wrong.append(f"{file.name}: {error}"))
        page.on("console", lambda said, file=file: said.type == "error" and wrong.append(f"{file.name}: {said.text}"))
        page.goto(file.as_uri())
        page.wait_for_function(
            "[...document.querySelectorAll('.math')].every((each) => each.querySelector('mjx-container'))"
        )
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        if (wide := page.evaluate("document.documentElement.scrollWidth")) > width:
            wrong.append(f"{file.name}: {wide} px wide on a screen of {width}")
        for violation in axe.Axe().run(page, options=OPTIONS).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                places = [node["html"][:150] for node in violation["nodes"][:3]]
                wrong.append(f"{file.name}: {violation['id']}, {len(violation['nodes'])} times: {places}")
        page.close()
    context.close()
    assert not wrong, "\n".join(wrong)


def test_every_link_within_the_book_has_its_page_and_its_place(pages):
    read = {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in pages}
    places = {path: {each["id"] for each in soup.find_all(id=True)} for path, soup in read.items()}
    wrong = []
    for path, soup in read.items():
        for href in (each["href"] for each in soup.find_all("a", href=True)):
            if href.startswith(("http:", "https:", "mailto:", "data:", "javascript:")):
                continue
            file, anchor = urldefrag(href)
            target = (path.parent / unquote(file)).resolve() if file else path
            if not target.is_file():
                wrong.append(f"{path.name}: {href}: no such file")
            elif anchor and target in places and unquote(anchor) not in places[target]:
                wrong.append(f"{path.name}: {href}: no such place")
    assert not wrong, "\n".join(wrong)


def test_no_page_is_larger_than_three_megabytes(pages):
    assert max(path.stat().st_size for path in pages) < 3_000_000
