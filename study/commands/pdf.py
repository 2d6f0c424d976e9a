"""Print the book as one PDF, with Chromium: what `make pdf` calls. Nothing is computed."""

import os
import shutil
import sys
import tempfile
from datetime import date
from html import escape
from pathlib import Path

import yaml

from study.commands.contents import EXECUTED, notebook_names
from study.commands.error_lines import call, one_line_errors
from study.commands.publish import parameters
from study.commands.read import BUILT
from study.config import find_root

PDF = Path("_build", "book.pdf")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
LONGEST = 600  # seconds that either tool may take
WAIT = 60_000  # milliseconds of a page's own time, for the mathematics to be set


def pdf(root: Path) -> Path:
    """Print the reader's own book or, where there is none, the published one as `make read` left it; the PDF's path."""
    source = _source(root)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ValueError("no browser: Chromium or Chrome prints the PDF; install one, such as apt install chromium")
    target = root / PDF
    target.parent.mkdir(exist_ok=True)
    # Not in /tmp, which a confined browser may not see; a browser that is closing may still write.
    with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as scratch:
        build = ["jupyter-book", "build", str(source), "--path-output", scratch, "-q"]
        call([*build, "--builder", "custom", "--custom-builder", "singlehtml"], "the book does not build", LONGEST)
        html = Path(scratch, "_build", "singlehtml")
        first = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))["root"]
        page = (html / f"{first}.html").rename(html / "book.html")  # beside its pictures
        text = page.read_text(encoding="utf-8").replace("<h1", f"{_cover(source)}<h1", 1)
        page.write_text(text.replace('<details class="fold"', '<details open class="fold"'), encoding="utf-8")
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", "--generate-pdf-document-outline"]
        options += [f"--virtual-time-budget={WAIT}", f"--user-data-dir={scratch}/browser"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")  # as root it has none
        printed = Path(scratch, "book.pdf")
        call([browser, *options, f"--print-to-pdf={printed}", page.as_uri()], f"{browser} does not print", LONGEST)
        if not printed.is_file():
            raise RuntimeError(f"{browser} does not print: it left no file")
        shutil.copyfile(printed, target)
    return target


def _source(root: Path) -> Path:
    """The folder whose book is printed: the reader's own before the published one."""
    for folder in (root, root / BUILT / "source"):
        if (folder / "_toc.yml").is_file():
            if all((folder / EXECUTED / f"{name}.ipynb").is_file() for name in notebook_names(folder)):
                return folder
    raise ValueError(f"{EXECUTED}: chapters of the table of contents are missing; make book, or make read, first")


def _cover(source: Path) -> str:
    """The first page: the title, and what this book was made with."""
    title = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))["title"]
    profile = parameters((source / EXECUTED / "introduction.ipynb").read_text(encoding="utf-8")).get("profile")
    lines = ["The paper that runs", profile and f"of the profile {profile}", f"printed on {date.today():%d %B %Y}"]
    paragraphs = "".join(f"<p>{escape(line)}</p>" for line in lines if line)
    return f'<div class="cover"><p class="cover-title">{escape(title)}</p>{paragraphs}</div>'


@one_line_errors
def main() -> None:
    root = find_root()
    print(f"The book as a PDF, {'yours' if _source(root) == root else 'the published one'}: {pdf(root)}")


if __name__ == "__main__":
    sys.exit(main())
