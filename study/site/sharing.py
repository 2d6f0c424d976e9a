"""A Sphinx extension: previews of links to a page, and a button that opens its notebook on Binder.

A shared link shows the page's description and first figure (sphinxext-opengraph). SITE_URL says where the book is
published, SITE_REPOSITORY where its repository is; without them a preview has no whole links and a page no button.
"""

import os
import re
from pathlib import Path
from urllib.parse import urljoin

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

PICTURE = "_static/book.png"  # of a page without a figure
BINDER = "https://mybinder.org"


def configure(app: Sphinx, config: Config) -> None:
    config.ogp_site_url = os.environ.get("SITE_URL", "").rstrip("/") + "/"
    config.ogp_image = PICTURE
    if repository := os.environ.get("SITE_REPOSITORY"):
        config.html_theme_options |= {
            "repository_url": repository,
            "repository_branch": "main",
            "use_repository_button": True,
            "use_issues_button": True,
            "launch_buttons": {"binderhub_url": BINDER, "notebook_interface": "jupyterlab"},
        }


def set_picture(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Make the page's first figure its picture in a preview."""
    for image in doctree.findall(nodes.image) if doctree else ():
        name = image["uri"].rpartition("/")[2]
        if name in app.builder.images.values():
            url = urljoin(app.config.ogp_site_url, f"_images/{name}")
            picture = {"og:image": url, "og:image:alt": image.get("alt", "")}
            context["meta"] = (context["meta"] or {}) | picture
            return


def set_notebook(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Let the button open the repository's notebook, not the executed one, which only the book has."""
    for button in (button for group in context.get("header_buttons", []) for button in group.get("buttons", [])):
        if button.get("url", "").startswith(BINDER):
            url = re.sub(r"book/executed/(\w+)\.ipynb", r"notebooks/\1.md", button["url"])
            button["url"] = f"{url}?factory=Jupytext%20Notebook"


def clean_pages(app: Sphinx, error: Exception | None) -> None:
    """Remove what the theme has that logs an error on every page.

    It preloads a font, which a browser refuses to a page on disk, and includes one script twice.
    """
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        clean = re.sub(r'<link rel="preload" as="font"[^>]*>\n?', "", text)
        clean = re.sub(r"(<script>const THEBE_JS_URL.*?</script>)(.*?)\1", r"\1\2", clean, flags=re.DOTALL)
        if clean != text:
            page.write_text(clean, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.setup_extension("sphinxext.opengraph")
    app.connect("config-inited", configure)
    app.connect("html-page-context", set_picture, priority=400)  # before sphinxext-opengraph
    app.connect("html-page-context", set_notebook, priority=900)  # after the theme
    app.connect("build-finished", clean_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
