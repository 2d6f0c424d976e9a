"""The clock is set back, or was wrong when files were written: changes are rebuilt, and numbers stay the same."""

import os
import time
from pathlib import Path

from tests.torture.conftest import COUNTS, assert_same_tables

DAY = 86_400
MADE = ("artifacts", "results", "book/executed", "_build", ".snakemake")
SOURCES = ("notebooks", "ifcore", "study", "book", "_toc.yml", "_config.yml")


def shift(folder: Path, names, seconds: float) -> None:
    """Make every file `seconds` newer."""
    for name in names:
        for path in [folder / name, *(folder / name).rglob("*")]:
            if path.is_file() and not path.is_symlink():
                born = path.stat()
                os.utime(path, (born.st_atime + seconds, born.st_mtime + seconds))
                COUNTS["files of another time"] += 1


def artifacts(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in (folder / "artifacts").rglob("*") if path.suffix == ".json"}


def test_after_the_clock_was_set_back_what_changed_is_made_again(make, copy, intact):
    """All outputs are dated tomorrow, so that a source changed now looks older."""
    shift(copy, MADE, DAY)
    for source in ("notebooks/facts.md", "book/preliminaries.md"):
        text = (copy / source).read_text(encoding="utf-8")
        (copy / source).write_text(f"{text}\nA sentence of a later day.\n", encoding="utf-8")
    made = artifacts(copy)
    rebuilt = make(copy, "book")
    assert rebuilt.process.returncode == 0, rebuilt.output
    pages = copy / "_build" / "html" / "book"
    for page in (pages / "executed" / "facts.html", pages / "preliminaries.html"):
        assert "A sentence of a later day." in page.read_text(encoding="utf-8"), page
    assert artifacts(copy) == made, "something was recomputed"
    assert_same_tables(copy, intact)
    assert max(path.stat().st_mtime for path in (copy / "book" / "executed").glob("*.ipynb")) < time.time() + 1
    assert make(copy, "book").output == f"The book: {copy}/_build/html/index.html\n", "and then it is as ever"


def test_sources_of_a_time_to_come_change_no_number_and_compute_nothing_again(make, copy, intact):
    shift(copy, SOURCES, DAY)
    made = artifacts(copy)
    rebuilt = make(copy, "book")
    assert rebuilt.process.returncode == 0, rebuilt.output
    assert artifacts(copy) == made
    assert_same_tables(copy, intact)
    names = {path.name for path in (intact / "book" / "executed").glob("*.ipynb")}
    assert {path.name for path in (copy / "book" / "executed").glob("*.ipynb")} == names, "chapters of tomorrow as well"


def test_all_of_one_moment_as_from_an_archive(make, copy, intact):
    for path in copy.rglob("*"):
        if path.is_file() and not path.is_symlink():
            os.utime(path, (315_576_000, 315_576_000))
            COUNTS["files of another time"] += 1
    made = artifacts(copy)
    rebuilt = make(copy, "book")
    assert rebuilt.process.returncode == 0, rebuilt.output
    assert artifacts(copy) == made
    assert_same_tables(copy, intact)
