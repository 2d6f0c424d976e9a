"""Runs a measurement in its own process; peak memory of a process."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def result(name: str, arguments: Sequence[str], python: str | Path = sys.executable) -> Any:
    """The last line, JSON, that `python -m` prints with these arguments. RuntimeError, in one line, if it fails."""
    done = subprocess.run([str(python), "-m", *arguments], capture_output=True, text=True)
    if done.returncode < 0:
        raise RuntimeError(f"{name}: killed by signal {-done.returncode}; give it more memory, or leave it out")
    if done.returncode:
        errors = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise RuntimeError(f"{name}: failed ({errors[-1]})")
    return json.loads(done.stdout.splitlines()[-1])


def peak() -> float:
    """Peak memory of this process in GiB, pages of mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage starts from the parent's peak
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
