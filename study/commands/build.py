"""Build the book, a sweep or one notebook, and show the progress: what the Makefile calls.

Snakemake runs as a child process; all that it, the jobs and the notebooks print goes to a log. A terminal shows two
lines, one for the whole and one for what is at work; elsewhere a line is printed as a job or a chapter begins and ends.
An error is one line.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import psutil

from ifcore import io, sanitize
from study.commands import work_plan
from study.commands.contents import EXECUTED, VERDICTS
from study.commands.error_lines import error_line, one_line_errors
from study.commands.meanwhile import published_book
from study.commands.progress import Progress
from study.commands.terminal import Screen

TICK = 0.25  # seconds
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PATIENCE = 20.0  # seconds for Snakemake to end its jobs after Ctrl-C
LOCK, PAGES = Path(".lock"), Path("_build")
SNAKEMAKE = ["snakemake", "--nolock", "--rerun-incomplete"]
SNAKEMAKE += ["--rerun-triggers", "mtime", "params", "code", "--quiet", "rules", "progress", "host", "reason"]


def build(profile: str, seed: int, target: str, seeds: Sequence[int], jobs: int, further: Sequence[str]) -> int:
    """Check, compute and render; the exit code. Raises ValueError, in one line, for what the check finds wrong."""
    wanted, file = (profile, seed, target, seeds), Path("artifacts", profile, "plan.json")
    with Screen(sys.stdout) as screen:
        if (plan := work_plan.load_plan(file, *wanted)) is None:
            screen.show("checking the profile")
            with ProcessPoolExecutor(1, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL)) as pool:
                plan = pool.submit(work_plan.make_plan, *wanted).result()
    pieces = work_plan.pieces_of(plan)
    outputs = [Path(piece.output) for piece in pieces]
    last = "book" if target in ("book", "sweep") else f"results/{profile}/seed-{seed}/{target}.ipynb"
    targets = ["chapters", last] if target in ("book", "sweep", *VERDICTS) else [last]
    limits, at_a_time = _limits(jobs, further, any(piece.card for piece in pieces))
    commands = [[*SNAKEMAKE, *limits, "--config", f"plan={file}", *further, "--", name] for name in targets]
    with _locked_checkout() as lock:  # Snakemake holds it too, should this process be killed
        io.write_json(file, plan)  # only now: another build may have gone by another one
        _distrust_future(outputs)
        if any(path.parent == EXECUTED and not path.exists() for path in outputs):
            commands[-1][1:1] = ["--forcerun", "book"]  # else pages that are there are taken for whole
        ending = work_plan.PAGES if targets[-1] == "book" else 0.0
        progress, folder = Progress(pieces, at_a_time, ending), Path("results", profile)
        with published_book(profile if _is_first(target) else "") as news:
            return carry_out(commands, progress, folder, [lock], news)


def _is_first(target: str) -> bool:
    """Whether it is a book, and the reader has none of their own yet."""
    return target in ("book", "sweep") and not (PAGES / "html" / "index.html").is_file()


def _limits(jobs: int, further: Sequence[str], on_card: bool) -> tuple[list[str], int]:
    """What Snakemake may use of this machine, and how many pieces at a time: of a cluster, what its options say."""
    if "--executor" in further:
        given = [int(count) for option, count in pairwise(further) if option in ("--jobs", "-j") and count.isdigit()]
        return [], (given or [1])[0]
    process = psutil.Process()
    cores = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else os.cpu_count() or 1
    memory = f"mem_mb={psutil.virtual_memory().total // 10**6}"
    return ["--cores", str(jobs or cores), "--resources", memory, "card=1"], 1 if on_card else jobs or cores


def carry_out(
    commands: Sequence[Sequence[str]],
    progress: Progress,
    folder: Path,
    held: Sequence[int] = (),
    news: Callable[[], str] = str,
) -> int:
    """Run one command after the other, which hold the file descriptors `held` too, and show their progress and the
    lines that `news` gives; the exit code of the last. The log is left in `folder`; an error is one line, followed by
    the log's name."""
    folder.mkdir(parents=True, exist_ok=True)
    log, events, code = folder / "build.log", folder / "build-events.jsonl", 0
    events.write_bytes(b"")
    environment = os.environ | {"IFCORE_EVENTS": str(events.resolve())}
    start = partial(subprocess.Popen, stdin=subprocess.DEVNULL, start_new_session=True)
    with log.open("wb") as written, events.open("rb") as emitted, Screen(sys.stdout) as screen:
        for command in commands:
            with _postponed_signals() as release:
                # In a session of its own: Ctrl-C is for this process, which then ends the others in order.
                child = start(command, stdout=written, stderr=subprocess.STDOUT, env=environment, pass_fds=held)
                try:
                    release()
                    code = _follow(child, emitted, progress, screen, news)
                except BaseException:
                    screen.show("stopping")
                    _stop(child)
                    raise
            if code:
                break
    if code:
        killed = f"Snakemake was killed by signal {-code}; the same command goes on from here" if code < 0 else ""
        error = progress.error or killed or progress.lost
        error = error or error_line(log.read_text(encoding="utf-8", errors="replace"))
        print(sanitize.printable(error), f"log: {log}", sep="\n", file=sys.stderr)
    return code


def _follow(
    child: subprocess.Popen, events: BinaryIO, progress: Progress, screen: Screen, news: Callable[[], str]
) -> int:
    """Show what the child does, and the news, until it ends; its exit code."""
    rest = b""
    while True:
        code = child.poll()
        *lines, rest = (rest + events.read()).split(b"\n")
        for line in lines:
            with suppress(ValueError):  # half a line of a job on another machine
                if event := progress.on_event(json.loads(line)):
                    screen.log(event)
        if said := news():
            screen.say(said)
        screen.draw(progress)
        if code is not None:
            return code
        time.sleep(TICK)


@contextmanager
def _postponed_signals() -> Iterator[Callable[[], None]]:
    """Ctrl-C, and what ends a session, wait for `release`: a child being started meanwhile would never be ended."""
    received: list[int] = []
    handlers = {number: signal.getsignal(number) for number in ENDING}
    handled = [number for number, handler in handlers.items() if callable(handler) or handler == signal.SIG_DFL]
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in handled}

    def release() -> None:
        while before:
            signal.signal(*before.popitem())
        if received:
            received.clear()
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
        for process in filter(_is_alive, family):
            with suppress(psutil.NoSuchProcess):
                end(process)
        deadline = time.monotonic() + 3
        while any(map(_is_alive, family)) and time.monotonic() < deadline:
            time.sleep(0.05)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _distrust_future(outputs: Sequence[Path]) -> None:
    """Have made again the notebooks and pages that look newer than any change to come, as after the clock was set back;
    artifacts are known by their content. A source dated in the future counts as changed now."""
    future = time.time() + 60  # another machine's clock may be fast

    def is_of_future(path: Path) -> bool:
        return path.exists() and path.stat().st_mtime > future

    for path in (source for pattern in work_plan.SOURCES for source in Path().glob(pattern)):
        with suppress(OSError):  # a folder that can't be written to; Snakemake then says what is wrong
            if path.is_file() and is_of_future(path):
                os.utime(path)
    for path in filter(is_of_future, (*outputs, PAGES / "html" / "index.html")):
        path.unlink()
    if is_of_future(doctrees := PAGES / ".doctrees" / "environment.pickle"):
        shutil.rmtree(doctrees.parent)


@contextmanager
def _locked_checkout() -> Iterator[int]:
    """Only one build at a time in this folder: a second one says so and waits."""
    with LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another build is running in this folder; waiting for it to end", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


@one_line_errors
def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m study.commands.build", description=__doc__, epilog="Arguments after -- go to Snakemake."
    )
    parser.add_argument("profile", type=Path, help="a profile's YAML file")
    parser.add_argument("seed", type=int, help="the seed of the notebook, or of the book's pages")
    parser.add_argument("target", help="book, sweep or the name of a notebook")
    parser.add_argument("--seeds", type=int, nargs="*", default=[], help="the seeds of a sweep")
    parser.add_argument("--jobs", type=int, default=0, help="jobs at a time (default one a core)")
    cut = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:cut])
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, signal.default_int_handler)
    further = sys.argv[cut + 1 :]
    try:
        return build(options.profile.stem, options.seed, options.target, options.seeds, options.jobs, further)
    except KeyboardInterrupt:
        print("stopped; the same command continues from here", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
