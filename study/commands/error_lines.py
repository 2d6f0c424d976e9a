"""An error is one line: that of a command, of a program that it calls, or of a log."""

import re
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from itertools import pairwise
from pathlib import Path
from subprocess import PIPE, STDOUT, TimeoutExpired, run

from ifcore import sanitize

ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # a terminal's


def one_line_errors(main: Callable[[], int | None], code: int = 1) -> Callable[[], int]:
    """`main` as a command: an error that the user can mend is one line on standard error, and the exit code `code`."""

    @wraps(main)
    def command() -> int:
        try:
            return main() or 0
        except (ValueError, RuntimeError, OSError) as error:
            print(sanitize.printable(error), file=sys.stderr)
            return code

    return command


def call(command: Sequence[str], failure: str, timeout: float | None = None, cwd: Path | None = None) -> None:
    """Run another program. Raises RuntimeError with `failure` and the line of its output that says why."""
    try:
        done = run(command, text=True, stdout=PIPE, stderr=STDOUT, timeout=timeout, cwd=cwd)
    except TimeoutExpired:
        raise RuntimeError(f"{failure}: not done after {timeout} s") from None
    if done.returncode:
        raise RuntimeError(f"{failure}: {error_line(done.stdout)}")


def error_line(log: str) -> str:
    """The line of a log that says best what went wrong."""
    if protected := re.search(r"Write-protected output files.+?affected files:\s+([^\n]+)", log, re.DOTALL):
        return f"{protected[1].strip()}: the file or its folder is read-only; make it writable"
    lines = [line.strip() for line in re.split(r"[\r\n]+", ESCAPES.sub("", log)) if line.strip()]
    pairs = [pair for pair in pairwise([*lines, ""]) if _ERROR.search(pair[0])]
    errors = [" ".join(pair).strip() if pair[0].endswith(":") else pair[0] for pair in pairs]  # it announces the next
    return (errors or lines or ["it ended without a message"])[0]


_ERROR = re.compile(r"(Error|Exception|ERROR|WARNING):")
