"""The published book, built while one's own is computed, so that there is something to read."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from study.commands.read import BUILT, SHOWN
from study.report.published import FOLDER

COMMAND = (sys.executable, "-m", "study.commands.read")
PRIORITY = 10  # below that of the jobs


@contextmanager
def published_book(profile: str, command: tuple[str, ...] = COMMAND) -> Iterator[Callable[[], str]]:
    """Build the published book of a profile, if it has one, beside what the block does.

    What is yielded gives the line that says where the book is, once it is there, and later nothing.
    """
    edition, page = Path(FOLDER, profile, "book"), Path(BUILT, "html", "index.html")
    lines = [f"To read meanwhile, the published book: {page.resolve()}"]
    if not edition.is_dir():
        yield lambda: ""
        return
    shown = Path(BUILT, SHOWN)
    is_its = shown.is_file() and shown.read_text(encoding="utf-8") == profile
    if page.is_file() and is_its and page.stat().st_mtime > max(file.stat().st_mtime for file in edition.iterdir()):
        yield lambda: lines.pop() if lines else ""
        return
    nowhere, started = subprocess.DEVNULL, ["nice", "-n", str(PRIORITY), *command, profile]
    child = subprocess.Popen(started, stdin=nowhere, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        yield lambda: lines.pop() if lines and child.poll() == 0 else ""
    finally:
        if child.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)
            child.wait()
