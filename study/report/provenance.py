"""What made a result: the commit, whether it was changed since, the versions, the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "transformers", "peft", "accelerate")


@cache
def provenance(root: Path) -> dict[str, Any]:
    """`commit` of the checkout (empty without Git), `dirty`: whether files differ from it, `versions`, `machine`.

    What is published makes no checkout dirty: it is made by one.
    """
    versions = {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in PACKAGES}
    changed = git(root, "status", "--porcelain", "--", ":(top)", ":(exclude)results/published")
    about = {"commit": git(root, "rev-parse", "HEAD"), "dirty": bool(changed), "versions": versions}
    return about | {"machine": machine("cuda" if torch.cuda.is_available() else "cpu")}


def made_by(root: Path) -> str:
    """The same in a line."""
    found = provenance(root)
    commit = f"commit {found['commit'][:10]}" if found["commit"] else "files outside Git"
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{commit}{', changed since' if found['dirty'] else ''}; {versions}"


def machine(device: str) -> str:
    """The graphics card, or the processor's cores and kind."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {platform.system()})"


def git(root: Path, *command: str) -> str:
    """What a Git command says of the checkout; empty where it fails or there is no Git."""
    try:
        done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
