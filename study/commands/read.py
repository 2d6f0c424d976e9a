"""Build the published book of a profile from its executed notebooks, computing nothing: what `make read` calls.

It is built under _build/published/: the reader's own book, in _build/html/ and book/executed/, stays.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from ifcore import io
from study.commands.contents import EXECUTED, notebook_names
from study.commands.error_lines import call, one_line_errors
from study.config import find_root
from study.report.published import FOLDER, preferred_profile

BUILT = Path("_build", "published")
SHOWN = "profile"  # in it: whose edition it is


def read(root: Path, profile: str) -> Path:
    """The first page of the book as published for a profile, without the chapters that `left_out` names."""
    editions = sorted(folder.parent.name for folder in (root / FOLDER).glob("*/book"))
    if profile not in editions:
        remedy = f"choose from {', '.join(editions)}" if editions else "nothing is published; make book computes one"
        raise ValueError(f"PROFILE={profile}: no book of it in {FOLDER}; {remedy}")
    chapters = root / FOLDER / profile / "book"
    contents = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    missing = {str(EXECUTED / name) for name in left_out(root, profile)}
    if (first := contents["root"]) in missing:
        folder = chapters.relative_to(root)
        raise ValueError(f"{folder}: no {Path(first).name}.ipynb, the first page; make book computes it")
    for part in contents["parts"]:
        part["chapters"] = [chapter for chapter in part["chapters"] if chapter["file"] not in missing]
    contents["parts"] = [part for part in contents["parts"] if part["chapters"]]
    work = root / BUILT
    work.parent.mkdir(exist_ok=True)
    with FileLock(work.parent / ".published.lock"):
        return _build(root, profile, chapters, contents)


def _build(root: Path, profile: str, chapters: Path, contents: dict[str, Any]) -> Path:
    work = root / BUILT
    source, html = work / "source", work / "_build" / "html"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(root / "book", source / "book", ignore=shutil.ignore_patterns(EXECUTED.name))
    shutil.copytree(chapters, source / EXECUTED)
    shutil.copy(root / "_config.yml", source)
    io.write_text(source / "_toc.yml", yaml.safe_dump(contents))
    failure = f"the published book of {profile} does not build"
    call(["jupyter-book", "build", str(source), "--path-output", str(work), "-q"], failure, cwd=root)
    if not (html / "index.html").is_file():
        raise RuntimeError(f"{failure}: it has no first page")
    io.write_text(work / SHOWN, profile)
    return html.rename(work / "html") / "index.html"


def left_out(root: Path, profile: str) -> list[str]:
    """The executed notebooks that the table of contents names and the published edition does not have."""
    chapters = root / FOLDER / profile / "book"
    return [name for name in notebook_names(root) if not (chapters / f"{name}.ipynb").is_file()]


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m study.commands.read", description=__doc__)
    parser.add_argument("profile", nargs="?", help="by default the profile with the most published seeds")
    profile, root = parser.parse_args().profile, find_root()
    profile = profile or preferred_profile(root)
    print(f"The book, as published: {read(root, profile)}")
    if missing := left_out(root, profile):
        print(f"Not in that edition: {', '.join(missing)}; make book computes them")


if __name__ == "__main__":
    sys.exit(main())
