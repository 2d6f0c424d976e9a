"""The book as one PDF, printed by Chromium: what `make pdf` calls. Nothing is computed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from html import escape
from pathlib import Path

import nbformat
import yaml

from study.commands.build import last_words
from study.commands.publish import CHAPTERS, named_chapters
from study.commands.read import BUILT
from study.config import find_root

PDF = Path("_build", "book.pdf")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
LONGEST = 600  # seconds that either tool may take
WAIT = 60_000  # milliseconds of a page's own time, for the mathematics to be set


def pdf(root: Path) -> Path:
    """Print the reader's own book, or where there is none the published one as `make read` left it; the PDF's path.

    Raises ValueError, in one line, where there is neither or no browser, RuntimeError where one of the tools fails.
    """
    source = _source(root)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ValueError(
            "no browser: a PDF is printed by Chromium or Chrome; install one, such as apt install chromium"
        )
    target = root / PDF
    target.parent.mkdir(exist_ok=True)
    # Not in /tmp, which a browser that is confined may not see; one that is closing may still write.
    with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as scratch:
        built = ["jupyter-book", "build", str(source), "--path-output", scratch, "-q"]
        _call([*built, "--builder", "custom", "--custom-builder", "singlehtml"], "the book does not build")
        html = Path(scratch, "_build", "singlehtml")
        first = yaml.safe_load((source / "_toc.yml").read_text(encoding="utf-8"))["root"]
        page = (html / f"{first}.html").rename(html / "book.html")  # beside its pictures
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace("<h1", f"{_cover(source)}<h1", 1), encoding="utf-8")
        options = ["--headless", "--disable-gpu", "--no-pdf-header-footer", "--generate-pdf-document-outline"]
        options += [f"--virtual-time-budget={WAIT}", f"--user-data-dir={scratch}/browser"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.append("--no-sandbox")  # as root it has none
        printed = Path(scratch, "book.pdf")
        _call([browser, *options, f"--print-to-pdf={printed}", page.as_uri()], f"{browser} does not print")
        if not printed.is_file():
            raise RuntimeError(f"{browser} does not print: it left no file")
        shutil.copyfile(printed, target)
    return target


def _source(root: Path) -> Path:
    """The checkout whose book is printed: the reader's own before the published one."""
    for folder in (root, root / BUILT / "source"):
        if _is_whole(folder):
            return folder
    raise ValueError(f"{CHAPTERS}: chapters of the table of contents are missing; make book, or make read, first")


def _cover(source: Path) -> str:
    """The first page: the title, and what this book was made with."""
    title = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))["title"]
    opening = nbformat.read(source / CHAPTERS / "introduction.ipynb", as_version=4)
    ran = next((cell.source for cell in opening.cells if "injected-parameters" in cell.metadata.get("tags", [])), "")
    profile = re.search(r'^profile = "(.+)"$', ran, re.MULTILINE)
    lines = [f"of the profile {profile[1]}"] if profile else []
    lines = ["The paper that runs", *lines, f"printed on {date.today():%d %B %Y}"]
    told = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return f'<div class="cover"><p class="cover-title">{escape(title)}</p>{told}</div>'


def _is_whole(folder: Path) -> bool:
    toc = folder / "_toc.yml"
    return toc.is_file() and all((folder / CHAPTERS / f"{name}.ipynb").is_file() for name in named_chapters(folder))


def _call(command: list[str], failure: str) -> None:
    try:
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{failure}: not done after {LONGEST} s") from None
    if done.returncode:
        raise RuntimeError(f"{failure}: {last_words(done.stdout)}")


def main() -> int:
    """The command line; errors are one line and a non-zero exit code."""
    try:
        root = find_root()
        print(f"The book as a PDF, {'yours' if _source(root) == root else 'the published one'}: {pdf(root)}")
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
