"""Build the book, a sweep or one notebook, and show how far it is: what the Makefile calls.

Snakemake runs as a child, and all that it and the notebooks print goes to a log. On a terminal two lines show the
whole and the step at work, elsewhere a line is printed as a chapter begins and ends; an error is one line.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import psutil

from ifcore import sanitize
from study import config
from study.commands.progress import ESCAPES, Bars, Chapter, Progress
from study.commands.terminal import Lines, Terminal
from study.pipeline import base_model

TICK = 0.25  # seconds
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 20.0  # seconds for Snakemake to end its jobs after Ctrl-C
LOCK, PAGES, SHOWN = Path(".lock"), Path("_build"), Path("book", "executed")
SOURCES = ("*.yml", "notebooks/*.md", "notebooks/profiles/*", "ifcore/**/*", "study/**/*", "book/*", "book/_static/*")
SOURCES += ("results/published/**/*", "results/bench/*")
VERDICTS = ("introduction", "conclusion")  # read the tables that the chapters leave, and so come last
SNAKEMAKE = ["snakemake", "--cores", "all", "--nolock", "--rerun-incomplete"]
SNAKEMAKE += ["--rerun-triggers", "mtime", "params", "code", "--quiet", "rules", "progress", "host", "reason"]


def chapters(name: str, seed: int, what: str, seeds: Sequence[int]) -> tuple[list[Chapter], float, int]:
    """What to execute, in order, after everything was checked; the speed to be expected, in tokens a second; and how
    many chapters at a time: two, of which each has half of the processor, or one on a graphics card."""
    from study.commands.check import check_book
    from study.estimate import rates, work  # takes seconds and memory, which is why this runs in a process of its own
    from study.pipeline import base_model

    def planned(seed: int, names: Sequence[str], folder: str, series: str | None, note: str = "") -> list[Chapter]:
        run = config.make_run(name, seed)
        check_book(run)
        items = work.work(run, names)
        parts = {each: [item for item in items if item.chapter == each] for each in names}
        about = {each: (f"{folder}/{each}.ipynb", _title(each) + note, series) for each in names}
        return [Chapter(*about[each], part, work.SHOWING) for each, part in parts.items()]

    names = re.findall(r"book/executed/(\w+)", Path("_toc.yml").read_text(encoding="utf-8"))
    names = [each for each in names if each not in VERDICTS]
    if what not in ("book", "sweep"):
        wanted = [*names, what] if what in VERDICTS else [what]
        found = planned(seed, wanted, f"results/{name}/seed-{seed}", None)
    else:
        found = []
        for each in seeds if what == "sweep" else ():
            found += planned(each, names, f"results/{name}/seed-{each}", f"seed {each}", f", seed {each}")
        found += planned(seed, [*names, *VERDICTS], "book/executed", None)
    return found, rates.expected(config.make_run(name, seed)).training, 2 if base_model.device() == "cpu" else 1


def build(name: str, seed: int, what: str, seeds: Sequence[int], jobs: int, further: Sequence[str]) -> int:
    """Check, compute and render; the exit code. Raises ValueError, in one line, for what the check finds wrong."""
    with _shown() as screen:
        screen.say("checking the profile")
        with ProcessPoolExecutor(1, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL)) as pool:
            *plan, fitting = pool.submit(chapters, name, seed, what, seeds).result()
    folder = Path("results", name)
    outputs = [Path(chapter.output) for chapter in plan[0]]
    targets = {"book": ["book"], "sweep": ["sweep", "book"]}.get(what, [f"{folder}/seed-{seed}/{what}.ipynb"])
    about = [f"profile={name}", f"seed={seed}", f"jobs={jobs or fitting}", f"seeds={' '.join(map(str, seeds))}"]
    commands = [[*SNAKEMAKE, "--config", *about, *further, "--", target] for target in targets]
    with _alone() as lock:  # Snakemake holds it too, should this process be killed
        _distrust_future(outputs)
        if any(path.parent == SHOWN and not path.exists() for path in outputs):
            commands[-1][1:1] = ["--forcerun", "book"]  # else pages that are there are taken for whole
        return carry_out(commands, Progress(*plan), folder, [lock])


def carry_out(commands: Sequence[Sequence[str]], progress: Progress, folder: Path, kept: Sequence[int] = ()) -> int:
    """Run one command after the other and show how far they are; the exit code of the last.

    `folder` has the log afterwards; an error is one line, with the log's name under it. `kept`: file descriptors that
    the commands hold too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log, events, code = folder / "build.log", folder / "build-events.jsonl", 0
    events.write_bytes(b"")
    environment = os.environ | {"IFCORE_EVENTS": str(events.resolve())}
    with log.open("wb") as written, log.open("rb") as read, events.open("rb") as heard, _shown() as screen:
        for command in commands:
            with _held() as release:
                # In a session of its own: Ctrl-C is for this process, which then ends the others in order.
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=written,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                    pass_fds=kept,
                )
                try:
                    release()
                    code = _follow(child, read, heard, progress, screen)
                except BaseException:
                    screen.say("stopping")
                    _stop(child)
                    raise
            if code:
                break
    if code:
        said = progress.error or last_words(log.read_text(encoding="utf-8", errors="replace"))
        print(sanitize.printable(said), file=sys.stderr)
        print(f"log: {log}", file=sys.stderr)
    return code


def last_words(log: str) -> str:
    """The line of a log that says best what went wrong, where no notebook did."""
    if protected := re.search(r"Write-protected output files.+?affected files:\s+([^\n]+)", log, re.DOTALL):
        return f"{protected[1].strip()}: it is read-only, or its folder is; make it one that can be written to"
    lines = [line.strip() for line in re.split(r"[\r\n]+", ESCAPES.sub("", log)) if line.strip()]
    wrong = [line for line in lines if re.search(r"(Error|Exception|ERROR|WARNING):", line)]
    return (wrong or lines or ["Snakemake ended without a word"])[0]


def _title(name: str) -> str:
    """A notebook's, without its number in the book."""
    text = Path("notebooks", f"{name}.md").read_text(encoding="utf-8")
    found = re.search(r"^# (?:[\d.]+ )?(.+)$", text, re.MULTILINE)
    return found[1] if found else name


def _follow(child: subprocess.Popen, log: BinaryIO, events: BinaryIO, progress: Progress, screen) -> int:
    """Show what the child does until it ends; its exit code."""
    bars, rest = Bars(), b""
    while True:
        code = child.poll()
        *lines, rest = (rest + events.read()).split(b"\n")
        for line in lines:
            with suppress(ValueError):  # half a line of a job on another machine
                if said := progress.hear(json.loads(line)):
                    screen.tell(said)
        for bar in bars.feed(log.read()):  # after the events: an item is at work before it shows a bar
            progress.see(bar)
        progress.tick()
        screen.draw(progress)
        if code is not None:
            return code
        time.sleep(TICK)


@contextmanager
def _held() -> Iterator[Callable[[], None]]:
    """Ctrl-C, and what ends a session, wait for `release`: what is being started meanwhile would never be ended."""
    heard: list[int] = []
    handled = [each for each in ENDS if callable(signal.getsignal(each)) or signal.getsignal(each) == signal.SIG_DFL]
    before = {each: signal.signal(each, lambda number, _: heard.append(number)) for each in handled}

    def release() -> None:
        while before:
            signal.signal(*before.popitem())
        if heard:
            heard.clear()
            raise KeyboardInterrupt

    try:
        yield release
    finally:
        release()


def _stop(child: subprocess.Popen) -> None:
    """End Snakemake, its jobs and their kernels, which are in sessions of their own."""
    family: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess, ProcessLookupError, subprocess.TimeoutExpired, KeyboardInterrupt):
        parent = psutil.Process(child.pid)
        family = [*parent.children(recursive=True), parent]
        os.killpg(child.pid, signal.SIGINT)
        child.wait(PATIENCE)
    for end in (psutil.Process.terminate, psutil.Process.kill):
        for process in filter(_lives, family):
            with suppress(psutil.NoSuchProcess):
                end(process)
        deadline = time.monotonic() + 3
        while any(map(_lives, family)) and time.monotonic() < deadline:
            time.sleep(0.05)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _distrust_future(outputs: Sequence[Path]) -> None:
    """Have made again what would look newer than any change to come, as after the clock was set back.

    Of chapters that are the notebooks alone, whose artifacts are known by their content. A source of a time to come
    counts as changed now.
    """
    future = time.time() + 60  # another machine's clock may go before
    for path in (each for pattern in SOURCES for each in Path().glob(pattern)):
        with suppress(OSError):  # a folder that can't be written to; Snakemake then says what is wrong
            if path.is_file() and path.stat().st_mtime > future:
                os.utime(path)
    index = PAGES / "html" / "index.html"
    for path in (*outputs, index):
        if path.exists() and path.stat().st_mtime > future:
            path.unlink()
    if (read := PAGES / ".doctrees" / "environment.pickle").exists() and read.stat().st_mtime > future:
        shutil.rmtree(read.parent)


@contextmanager
def _alone() -> Iterator[int]:
    """Only one build at a time in this folder: a second one says so and waits."""
    with LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another make is at work here; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@contextmanager
def _shown() -> Iterator[Terminal | Lines]:
    screen = Terminal(sys.stdout) if sys.stdout.isatty() else Lines(sys.stdout)
    try:
        yield screen
    finally:
        screen.close()


def main() -> int:
    """The command line; errors are one line and a non-zero exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m study.commands.build", description=__doc__, epilog="After --: more for Snakemake."
    )
    parser.add_argument("profile", type=Path, help="a profile's YAML file")
    parser.add_argument("seed", type=int, help="the seed that the book shows, or the notebook's")
    parser.add_argument("what", help="book, sweep or the name of a notebook")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="those of a sweep")
    parser.add_argument("--jobs", type=int, default=0, help="notebooks at a time (default 2; 1 on a graphics card)")
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    given = parser.parse_args(sys.argv[1:cut])
    for each in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(each) != signal.SIG_IGN:  # as under nohup
            signal.signal(each, signal.default_int_handler)
    try:
        return build(given.profile.stem, given.seed, given.what, given.seeds, given.jobs, sys.argv[cut + 1 :])
    except KeyboardInterrupt:
        print("stopped; the next call goes on from here", file=sys.stderr)
        return 130
    except (RuntimeError, OSError, ValueError) as error:
        print(sanitize.printable(error), file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
