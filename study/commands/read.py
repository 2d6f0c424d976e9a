"""Build the book from the executed notebooks of a published run, computing nothing: what `make read` calls.

It is built under _build/published/: the reader's own book, in _build/html/ and book/executed/, stays.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from ifcore import io
from study.commands.build import last_words
from study.commands.publish import CHAPTERS, named_chapters
from study.config import find_root
from study.report.published import FOLDER, preferred

BUILT = Path("_build", "published")


def read(root: Path, profile: str) -> Path:
    """The first page of the book as published for a profile.

    Chapters that the published edition does not have are left out, `left_out` names them. Raises ValueError, in one
    line, where nothing is published or the first page is not, and RuntimeError where the book does not build.
    """
    there = sorted(folder.parent.name for folder in (root / FOLDER).glob("*/book"))
    if profile not in there:
        known = f"choose from {', '.join(there)}" if there else "nothing is, so far; make book computes one"
        raise ValueError(f"PROFILE={profile}: no book of it in {FOLDER}; {known}")
    chapters = root / FOLDER / profile / "book"
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    without = {str(CHAPTERS / name) for name in left_out(root, profile)}
    if contents["root"] in without:
        where = chapters.relative_to(root)
        raise ValueError(f"{where}: no {Path(contents['root']).name}.ipynb, the first page; make book computes it")
    for part in contents["parts"]:
        part["chapters"] = [each for each in part["chapters"] if each["file"] not in without]
    contents["parts"] = [part for part in contents["parts"] if part["chapters"]]
    work = root / BUILT
    source = work / "source"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(root / "book", source / "book", ignore=shutil.ignore_patterns(CHAPTERS.name))
    shutil.copytree(chapters, source / CHAPTERS)
    shutil.copy(root / "_config.yml", source)
    io.write_text(source / "_toc.yml", yaml.safe_dump(contents))
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


def left_out(root: Path, profile: str) -> list[str]:
    """The computed chapters that the table of contents names and the published edition does not have."""
    chapters = root / FOLDER / profile / "book"
    return [name for name in named_chapters(root) if not (chapters / f"{name}.ipynb").is_file()]


def main() -> int:
    """The command line; errors are one line and a non-zero exit code."""
    parser = argparse.ArgumentParser(prog="python -m study.commands.read", description=__doc__)
    parser.add_argument("profile", nargs="?", help="by default the one that is published with most seeds")
    given = parser.parse_args()
    try:
        root = find_root()
        profile = given.profile or preferred(root)
        print(f"The book, as published: {read(root, profile)}")
        if missing := left_out(root, profile):
            print(f"Not in that edition: {', '.join(missing)}; make book computes them")
    except (ValueError, RuntimeError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
