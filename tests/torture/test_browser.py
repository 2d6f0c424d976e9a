"""Every page in a browser without a network, light and dark, at the width of a desktop and of a phone."""

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
OPTIONS = {"resultTypes": ["violations"], "preload": False}  # preloading would fetch files from disk
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium to open pages with")


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


@pytest.fixture(scope="module")
def pages(book):  # noqa: F811
    paths = sorted(path for path in book.joinpath("book").rglob("*.html") if "_static" not in path.parts)
    assert len(paths) >= 15
    return [book / "index.html", *paths]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_requests_nothing_that_is_missing_and_is_accessible(browser, pages, theme, width):
    """No failed request or console error, mathematics set, nothing wider than the screen, no serious violation of
    axe-core's accessibility rules."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, offline=True)
    context.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
    wrong = []
    for file in pages:
        page = context.new_page()
        page.on("requestfailed", lambda request, file=file: wrong.append(f"{file.name}: {request.url}"))
        page.on("pageerror", lambda error, file=file: wrong.append(f"{file.name}: {error}"))
        page.on(
            "console",
            lambda message, file=file: message.type == "error" and wrong.append(f"{file.name}: {message.text}"),
        )
        page.goto(file.as_uri())
        page.wait_for_function(
            "[...document.querySelectorAll('.math')].every((node) => node.querySelector('mjx-container'))"
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


def test_every_link_within_the_book_has_its_target(pages):
    read = {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in pages}
    places = {path: {tag["id"] for tag in soup.find_all(id=True)} for path, soup in read.items()}
    wrong = []
    for path, soup in read.items():
        for href in (tag["href"] for tag in soup.find_all("a", href=True)):
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
