"""A Sphinx extension: what a page has beside its text, and what it has when the book is published.

Links to it that are shared elsewhere show a description and the page's first figure (sphinxext-opengraph), and a page
that was computed has a button that opens its notebook on Binder. SITE_URL says where the book is published,
SITE_REPOSITORY where its repository is; without them links in a preview are not whole, and there is no button.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urljoin

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

PICTURE = "_static/book.png"  # of a page without a figure
BINDER = "https://mybinder.org"


def place(app: Sphinx, config: Config) -> None:
    config.ogp_site_url = os.environ.get("SITE_URL", "").rstrip("/") + "/"
    config.ogp_image = PICTURE
    if repository := os.environ.get("SITE_REPOSITORY"):
        launch = {"binderhub_url": BINDER, "notebook_interface": "jupyterlab"}
        config.html_theme_options |= {
            "repository_url": repository,
            "repository_branch": "main",
            "use_repository_button": True,
            "use_issues_button": True,
            "launch_buttons": launch,
        }


def picture(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Name the page's first figure as its picture."""
    for image in doctree.findall(nodes.image) if doctree else ():
        copied = image["uri"].rpartition("/")[2]
        if copied in app.builder.images.values():
            context["meta"] = (context["meta"] or {}) | {
                "og:image": urljoin(app.config.ogp_site_url, f"_images/{copied}"),
                "og:image:alt": image.get("alt", ""),
            }
            return


def launch(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Open the notebook in the repository, not the executed one, which is only in the book."""
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if button.get("url", "").startswith(BINDER):
                at = re.sub(r"book/executed/(\w+)\.ipynb", r"notebooks/\1.md", button["url"])
                button["url"] = f"{at}?factory=Jupytext%20Notebook"


def plain(app: Sphinx, error: Exception | None) -> None:
    """Take out what the theme has that would be an error on the console of every page.

    A font fetched ahead of need, which a browser refuses to a page on disk, and a script that comes twice.
    """
    for page in Path(app.outdir).rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        kept = re.sub(r'<link rel="preload" as="font"[^>]*>\n?', "", text)
        kept = re.sub(r"(<script>const THEBE_JS_URL.*?</script>)(.*?)\1", r"\1\2", kept, flags=re.DOTALL)
        if kept != text:
            page.write_text(kept, encoding="utf-8")


def setup(app: Sphinx) -> dict:
    app.setup_extension("sphinxext.opengraph")
    app.connect("config-inited", place)
    app.connect("html-page-context", picture, priority=400)  # before sphinxext-opengraph
    app.connect("html-page-context", launch, priority=900)  # after the theme
    app.connect("build-finished", plain)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
