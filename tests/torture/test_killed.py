"""Killed by -9 at any moment, all of it at once: the next call goes on, and ends with the numbers of a quiet build."""

import os
import re
import shutil
import time
from pathlib import Path
from random import Random

import pytest

from ifcore import io
from tests.torture.conftest import COUNTS, assert_same_tables, done, left_over

CHAPTERS = ("empirical_study", "sensitivity", "counterfactual", "parameter_change", "facts", "approximation_error")
EACH = 4  # kills of each chapter
OF_THE_BOOK = 5
LATEST = 25.0  # seconds after which a build is killed at the latest


def again(before: dict[Path, int]) -> list[Path]:
    """What of `before` was made a second time, or is gone; but epochs, which some fine-tunes remove at their end."""
    found = [path for path, born in before.items() if path.exists() and path.stat().st_mtime_ns != born]
    return found + [path for path in before if path.suffix == ".json" and not path.exists()]


def killed(start, folder: Path, random: Random, *arguments: str) -> bool:
    """Start a build, and kill it at a random moment; whether it was still at work."""
    build = start(folder, *arguments)
    if random.random() < 0.5:  # by the clock
        moment = time.monotonic() + random.uniform(0.2, LATEST)
        reached = lambda: time.monotonic() > moment  # noqa: E731
    else:  # as something is written
        count, places = random.randint(1, 60), [folder / name for name in ("artifacts", "results", "book/executed")]
        at_first, latest = sum(1 for _ in entries(places)), time.monotonic() + LATEST
        reached = lambda: sum(1 for _ in entries(places)) >= at_first + count or time.monotonic() > latest  # noqa: E731
    build.until(reached)
    hit = build.kill()
    assert hit or build.process.returncode == 0, build.said
    COUNTS["kills -9"] += hit
    return hit


def entries(places):
    """What is in some folders, of which any may be gone by the time it is looked into."""
    for place in places:
        for _, folders, names in os.walk(place):
            yield from (*folders, *names)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_killed_at_random_moments_goes_on(start, make, fresh, intact, chapter):
    random, hits, calls, made = Random(chapter), 0, 0, {}
    while hits < EACH:
        calls += 1
        assert calls < 5 * EACH, "it is over too soon to be killed so often"
        hit = killed(start, fresh, random, "run", f"NB={chapter}")
        hits += hit
        assert again(made) == []
        made |= done(fresh)
        if not hit:  # all is made: once more from nothing
            assert_same_tables(fresh, intact, every=False)
            for name in ("artifacts", "results"):
                shutil.rmtree(fresh / name)
            made = {}
    last = make(fresh, "run", f"NB={chapter}")
    assert last.process.returncode == 0, last.said
    assert again(made) == []
    assert_same_tables(fresh, intact, every=False)
    assert left_over(fresh) == []


def test_a_book_killed_at_random_moments_goes_on(start, make, fresh, intact):
    random, hits, made = Random("book"), 0, {}
    for _ in range(OF_THE_BOOK):
        hits += killed(start, fresh, random, "book")
        made |= done(fresh)
    last = make(fresh, "book")
    assert last.process.returncode == 0, last.said
    assert hits == OF_THE_BOOK, "it was over before it was killed"
    assert again(made) == []
    assert_same_tables(fresh, intact)
    assert left_over(fresh) == []
    assert_whole_pages(fresh, intact)
    assert make(fresh, "book").said == f"The book: {fresh}/_build/html/index.html\n"


@pytest.mark.parametrize("pages", [1, 9])
def test_killed_while_pages_are_written_the_next_call_writes_them_all(start, make, copy, intact, pages):
    """What Sphinx wrote of a page that was cut off, it would keep, as it would what is not in the search index."""
    shutil.rmtree(copy / "_build")
    build = start(copy, "book")
    html = copy / "_build" / "html" / "book"
    assert build.until(lambda: sum(1 for _ in html.rglob("*.html")) >= pages)
    assert build.kill()
    COUNTS["kills -9"] += 1
    last = make(copy, "book")
    assert last.process.returncode == 0, last.said
    assert_whole_pages(copy, intact)
    assert_same_tables(copy, intact)


def assert_whole_pages(folder: Path, intact: Path) -> None:
    """Every page to its end, and in the search index."""
    ours, theirs = (each / "_build" / "html" for each in (folder, intact))
    names = [path.relative_to(theirs) for path in sorted(theirs.glob("book/**/*.html"))]
    for name in names:
        assert (ours / name).read_text(encoding="utf-8").rstrip().endswith("</html>"), name
    found, expected = (documents(each / "searchindex.js") for each in (ours, theirs))
    assert found == expected and len(found) > 10


def documents(index: Path) -> list[str]:
    """The pages that can be searched."""
    return sorted(re.search(r'"docnames": \[([^\]]*)\]', index.read_text(encoding="utf-8"))[1].split(", "))


def test_no_lock_of_a_killed_run_stays(start, make, fresh):
    """Killed while it has an artifact's lock, the folder's and the build's."""
    build = start(fresh, "run", "NB=facts")
    record = fresh / "artifacts" / "smoke" / "seed-0" / "facts" / "fine-tune.json"
    assert build.until(record.exists)
    assert build.kill()
    COUNTS["kills -9"] += 1
    assert not io.read_json(record)["done"], "it was killed too late to tell anything"
    last = make(fresh, "run", "NB=facts")
    assert last.process.returncode == 0, last.said
    assert "waiting" not in last.said
