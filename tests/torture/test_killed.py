"""All processes killed with -9 at a random moment: the next call continues, to the numbers of an undisturbed build."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import psutil
import pytest

from ifcore import io
from tests.torture.conftest import COUNTS, assert_same_tables, finished_files, partial_files

CHAPTERS = ("empirical_study", "sensitivity", "counterfactual", "parameter_change", "facts", "approximation_error")
CHAPTER_KILLS = 4
BOOK_KILLS = 5
VICTIM_KILLS = 4
LATEST = 25.0  # seconds until a build is killed at the latest


def remade(before: dict[Path, int]) -> list[Path]:
    """Files of `before` that were rewritten or removed, but for epochs, which some fine-tunes remove at their end."""
    rewritten = [path for path, born in before.items() if path.exists() and path.stat().st_mtime_ns != born]
    return rewritten + [path for path in before if path.suffix == ".json" and not path.exists()]


def kill_at_random(start, folder: Path, random: Random, *arguments: str) -> bool:
    """Start a build, and kill it at a random moment; whether it was still running."""
    build = start(folder, *arguments)
    if random.random() < 0.5:  # by the clock
        moment = time.monotonic() + random.uniform(0.2, LATEST)
        reached = lambda: time.monotonic() > moment  # noqa: E731
    else:  # after some files were written
        count, places = random.randint(1, 60), [folder / name for name in ("artifacts", "results", "book/executed")]
        at_first, latest = sum(1 for _ in entries(places)), time.monotonic() + LATEST
        reached = lambda: sum(1 for _ in entries(places)) >= at_first + count or time.monotonic() > latest  # noqa: E731
    build.until(reached)
    hit = build.kill()
    assert hit or build.process.returncode == 0, build.output
    COUNTS["kills -9"] += hit
    return hit


VICTIMS = {"a job": "study.commands.compute", "snakemake": "bin/snakemake", "make": "make book"}


@pytest.fixture
def busy():
    """Another program takes one of two cores."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        yield
        process.kill()


@pytest.mark.parametrize("victim", VICTIMS)
def test_one_process_killed_at_random_moments_on_a_busy_machine_and_the_next_call_goes_on(
    start, make, fresh, intact, busy, victim
):
    """What goes on without it, as the jobs do without Snakemake, is waited for and found."""
    random, made = Random(victim), {}
    for _ in range(VICTIM_KILLS):
        build = start(fresh, "book")
        assert kill_one(build, victim, time.monotonic() + random.uniform(3, LATEST)), build.output
        if victim != "make":  # make's build goes on without it, and the next call waits
            assert build.wait() != 0, build.output
        assert remade(made) == []
        made |= finished_files(fresh)
    last = make(fresh, "book")
    assert last.process.returncode == 0, last.output
    assert remade(made) == []
    assert_same_tables(fresh, intact)
    assert partial_files(fresh) == []
    assert_whole_pages(fresh, intact)


def kill_one(build, victim: str, moment: float) -> bool:
    """Kill -9 one process of a build, once it is time and there is one; whether it was hit."""
    build.until(lambda: time.monotonic() > moment and victims(build, victim))
    for process in victims(build, victim)[:1]:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
            COUNTS["kills -9"] += 1
            return True
    return False


def victims(build, victim: str) -> list[psutil.Process]:
    """The processes of a build that run a command."""
    running = []
    for process in build.family():
        with suppress(psutil.Error, OSError):
            if VICTIMS[victim] in " ".join(process.cmdline()) and process.name() not in ("sh", "bash"):
                running.append(process)
    return sorted(running, key=lambda process: process.pid)


def entries(places):
    """Everything below some folders, which may disappear meanwhile."""
    for place in places:
        for _, folders, names in os.walk(place):
            yield from (*folders, *names)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_killed_at_random_moments_goes_on(start, make, fresh, intact, chapter):
    random, hits, calls, made = Random(chapter), 0, 0, {}
    while hits < CHAPTER_KILLS:
        calls += 1
        assert calls < 5 * CHAPTER_KILLS, "it ends too soon to be killed so often"
        hit = kill_at_random(start, fresh, random, "run", f"NB={chapter}")
        hits += hit
        assert remade(made) == []
        made |= finished_files(fresh)
        if not hit:  # the build is complete: start from nothing
            assert_same_tables(fresh, intact, every=False)
            for name in ("artifacts", "results"):
                shutil.rmtree(fresh / name)
            made = {}
    last = make(fresh, "run", f"NB={chapter}")
    assert last.process.returncode == 0, last.output
    assert remade(made) == []
    assert_same_tables(fresh, intact, every=False)
    assert partial_files(fresh) == []


def test_a_book_killed_at_random_moments_goes_on(start, make, fresh, intact):
    random, hits, made = Random("book"), 0, {}
    for _ in range(BOOK_KILLS):
        hits += kill_at_random(start, fresh, random, "book")
        made |= finished_files(fresh)
    last = make(fresh, "book")
    assert last.process.returncode == 0, last.output
    assert hits == BOOK_KILLS, "it was over before it was killed"
    assert remade(made) == []
    assert_same_tables(fresh, intact)
    assert partial_files(fresh) == []
    assert_whole_pages(fresh, intact)
    assert make(fresh, "book").output == f"The book: {fresh}/_build/html/index.html\n"


@pytest.mark.parametrize("pages", [1, 9])
def test_killed_while_pages_are_written_the_next_call_writes_them_all(start, make, copy, intact, pages):
    """Sphinx would keep a truncated page, and one that is missing from the search index."""
    shutil.rmtree(copy / "_build")
    build = start(copy, "book")
    html = copy / "_build" / "html" / "book"
    assert build.until(lambda: sum(1 for _ in html.rglob("*.html")) >= pages)
    assert build.kill()
    COUNTS["kills -9"] += 1
    last = make(copy, "book")
    assert last.process.returncode == 0, last.output
    assert_whole_pages(copy, intact)
    assert_same_tables(copy, intact)


def assert_whole_pages(folder: Path, intact: Path) -> None:
    """Every page is complete and in the search index."""
    html, expected = folder / "_build" / "html", intact / "_build" / "html"
    for name in [path.relative_to(expected) for path in sorted(expected.glob("book/**/*.html"))]:
        assert (html / name).read_text(encoding="utf-8").rstrip().endswith("</html>"), name
    indexed = indexed_pages(html / "searchindex.js")
    assert indexed == indexed_pages(expected / "searchindex.js") and len(indexed) > 10


def indexed_pages(index: Path) -> list[str]:
    return sorted(re.search(r'"docnames": \[([^\]]*)\]', index.read_text(encoding="utf-8"))[1].split(", "))


def test_no_lock_of_a_killed_run_stays(start, make, fresh):
    """It is killed while it holds the locks of an artifact, of the folder and of the build."""
    build = start(fresh, "run", "NB=facts")
    record = fresh / "artifacts" / "smoke" / "seed-0" / "facts" / "fine-tune.json"
    assert build.until(record.exists)
    assert build.kill()
    COUNTS["kills -9"] += 1
    assert not io.read_json(record)["done"], "it was killed too late to test anything"
    last = make(fresh, "run", "NB=facts")
    assert last.process.returncode == 0, last.output
    assert "waiting" not in last.output
