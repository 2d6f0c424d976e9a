"""Build the book from the executed notebooks of a published run, computing nothing: what `make read` calls.

It is built under _build/published/: the reader's own book, in _build/html/ and book/executed/, stays.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from ifcore.study.build import last_words
from ifcore.study.config import find_root
from ifcore.study.release import CHAPTERS, named_chapters
from ifcore.study.show.published import FOLDER, PROFILES

BUILT = Path("_build", "published")


def read(root: Path, profile: str | None = None) -> Path:
    """The first page of the book as published for a profile, by default the first of `PROFILES` that is.

    Raises ValueError, in one line, where nothing is published or a chapter of the table of contents is not, and
    RuntimeError where the book does not build.
    """
    there = sorted(folder.parent.name for folder in (root / FOLDER).glob("*/book"))
    profile = profile or next((name for name in PROFILES if name in there), PROFILES[0])
    if profile not in there:
        known = f"choose from {', '.join(there)}" if there else "nothing is, so far; make book computes one"
        raise ValueError(f"PROFILE={profile}: no book of it in {FOLDER}; {known}")
    chapters = root / FOLDER / profile / "book"
    if missing := [name for name in named_chapters(root) if not (chapters / f"{name}.ipynb").is_file()]:
        where = chapters.relative_to(root)
        raise ValueError(f"{where}: no {missing[0]}.ipynb, which _toc.yml names; make book computes it")
    work = root / BUILT
    source = work / "source"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(root / "book", source / "book", ignore=shutil.ignore_patterns(CHAPTERS.name))
    shutil.copytree(chapters, source / CHAPTERS)
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(root / name, source)
    done = subprocess.run(
        ["jupyter-book", "build", str(source), "--path-output", str(work), "-q"],
        cwd=root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    html = work / "_build" / "html"
    if done.returncode or not (html / "index.html").is_file():
        raise RuntimeError(f"the published book of {profile} does not build: {last_words(done.stdout)}")
    return html.rename(work / "html") / "index.html"


def main() -> int:
    """The command line; errors are one line and a non-zero exit code."""
    parser = argparse.ArgumentParser(prog="python -m ifcore.study.read", description=__doc__)
    parser.add_argument("profile", nargs="?", help=f"by default the first published of {', '.join(PROFILES)}")
    given = parser.parse_args()
    try:
        print(f"The book, as published: {read(find_root(), given.profile)}")
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
