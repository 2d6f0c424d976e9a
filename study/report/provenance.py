"""What made a result: the commit, whether files differ from it, the versions, the machine."""

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "peft", "accelerate")
GIT = ["git", "-c", "log.showSignature=false", "-c", "status.showUntrackedFiles=normal"]  # whatever the user prefers


@cache
def provenance(root: Path) -> dict[str, Any]:
    """`commit` of the checkout (empty without Git), `dirty` (whether files differ from it), `versions`, `machine`.

    Changes under results/published don't count: a clean checkout makes them.
    """
    versions = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}
    dirty = bool(git(root, "status", "--porcelain", "--", ":(top)", ":(exclude)results/published"))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return {"commit": git(root, "rev-parse", "HEAD"), "dirty": dirty, "versions": versions, "machine": machine(device)}


def provenance_line(root: Path) -> str:
    """Commit and versions as one line."""
    record = provenance(root)
    commit = f"commit {record['commit'][:10]}" if record["commit"] else "files outside Git"
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return f"{commit}{', changed since' if record['dirty'] else ''}; {versions}"


def machine(device: str) -> str:
    """The name of the graphics card, or the processor's cores and kind."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {platform.system()})"


def git(root: Path, *command: str) -> str:
    """A Git command's output in the checkout; empty where it fails or Git is missing."""
    try:
        return subprocess.run([*GIT, "-C", str(root), *command], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return ""
