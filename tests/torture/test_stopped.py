"""Stopped by Ctrl-C or by the end of a session: a line, an exit code, no process left, and the next call continues."""

import os
import signal
import sys
import time

import pytest

from tests.torture.conftest import COUNTS, assert_same_tables, finished_files

STOPPED = "stopped; the same command continues from here"
MOMENTS = {  # moment -> whether the build has reached it
    "while it checks": lambda build: time.monotonic() > build.begun + 2,
    "while Snakemake starts": lambda build: (build.folder / "results" / "smoke" / "build.log").exists(),
    "while a job starts": lambda build: ": begun" in build.output,
    "while a kernel starts": lambda build: "Sensitivity: begun" in build.output,
    "while it fine-tunes": lambda build: any(build.folder.glob("artifacts/smoke/seed-0/*/checkpoints/epoch-*")),
    "while it attributes": lambda build: any(build.folder.glob("artifacts/smoke/seed-0/*/gradients/*")),
}


def start_build(start, folder, chapter="sensitivity"):
    """Start the build without make, to see its exit code."""
    profile = "notebooks/profiles/smoke.yaml"
    build = start(folder, command=(sys.executable, "-m", "study.commands.build", profile, "0", chapter, "--jobs", "2"))
    build.begun = time.monotonic()
    return build


def assert_no_process_left(build) -> None:
    """After a few seconds to end."""
    deadline = time.monotonic() + 5
    while build.commands() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert build.commands() == []


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_ends_it_in_a_line(start, make, fresh, intact, moment):
    """On a terminal Ctrl-C reaches every process in the foreground."""
    build = start_build(start, fresh)
    assert build.until(lambda: MOMENTS[moment](build))
    os.killpg(build.process.pid, signal.SIGINT)
    assert build.wait(60) == 130, build.output
    COUNTS["stops"] += 1
    assert build.lines[-1] == STOPPED and "Traceback" not in build.output, build.output
    assert_no_process_left(build)
    if not (made := finished_files(fresh)):
        return
    last = make(fresh, "run", "NB=sensitivity")
    assert last.process.returncode == 0, last.output
    assert all(path.stat().st_mtime_ns == born for path, born in made.items() if path.exists())
    assert_same_tables(fresh, intact, every=False)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_the_end_of_a_session_ends_it_as_well(start, fresh, name):
    build = start_build(start, fresh)
    assert build.until(lambda: MOMENTS["while it fine-tunes"](build))
    build.process.send_signal(signal.Signals[name])
    assert build.wait(60) == 130, build.output
    COUNTS["stops"] += 1
    assert build.lines[-1] == STOPPED
    assert_no_process_left(build)


def test_an_impatient_second_ctrl_c_leaves_no_process_either(start, fresh):
    build = start_build(start, fresh)
    assert build.until(lambda: MOMENTS["while it fine-tunes"](build))
    for _ in range(3):
        os.killpg(build.process.pid, signal.SIGINT)
        time.sleep(0.4)
    assert build.wait(60) != 0
    COUNTS["stops"] += 1
    assert "Traceback" not in build.output, build.output
    assert_no_process_left(build)


def test_make_says_no_more_than_the_build_and_that_it_was_stopped(start, fresh):
    build = start(fresh, "run", "NB=sensitivity")
    assert build.until(lambda: ": made" in build.output)
    os.killpg(build.process.pid, signal.SIGINT)
    assert build.wait(60) != 0
    COUNTS["stops"] += 1
    *lines, last = build.lines
    assert last == STOPPED and all(": begun" in line or ": made" in line for line in lines), build.output
    assert_no_process_left(build)


def test_stopped_while_pages_are_made_the_next_call_writes_them(start, make, copy):
    page, index = (copy / "_build" / "html" / name for name in ("book/executed/facts.html", "index.html"))
    page.unlink(), index.unlink()
    build = start(copy, "book")
    assert build.until(lambda: any("jupyter-book" in command for command in build.commands()))
    time.sleep(3)
    os.killpg(build.process.pid, signal.SIGINT)
    assert build.wait(60) != 0
    COUNTS["stops"] += 1
    assert build.lines == [STOPPED]
    assert_no_process_left(build)
    last = make(copy, "book")
    assert last.process.returncode == 0, last.output
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>") and index.exists()
