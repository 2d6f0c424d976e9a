"""A measurement in a process of its own, and the memory that a process takes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def result(what: str, arguments: Sequence[str], python: str | Path = sys.executable) -> Any:
    """What `python -m` with these arguments prints as its last line, JSON. RuntimeError, in one line, if it fails."""
    done = subprocess.run([str(python), "-m", *arguments], capture_output=True, text=True)
    if done.returncode < 0:
        raise RuntimeError(f"{what}: killed by signal {-done.returncode}; give it more memory, or leave it out")
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{what}: failed ({said[-1]})")
    return json.loads(done.stdout.splitlines()[-1])


def peak() -> float:
    """GiB that this process has taken at most, pages of mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says is not less than the parent's
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
