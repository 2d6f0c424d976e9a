"""A copy of the sources in which make commands are tried, with the environment that runs the tests."""

import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
IGNORED = (
    ".git",
    ".venv*",
    ".home",
    "artifacts",
    "results",
    "_build",
    "executed",
    ".snakemake",
    ".*_cache",
    "__pycache__",
    "*.ipynb",
)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory):
    """A fresh checkout, one for the whole session."""
    folder = tmp_path_factory.mktemp("checkout") / "book"
    check_out(folder)
    return folder


@pytest.fixture(scope="session")
def make(checkout):
    """Runs make there: make("book", "PROFILE=smoke") -> CompletedProcess, its output in .stdout."""
    return partial(run_make, checkout)


@pytest.fixture(scope="session")
def built(checkout, tmp_path_factory):
    """The output of building the book in the smoke profile from nothing.

    It is built once, by the first of pytest's workers, and every checkout gets a copy.
    """
    shared = tmp_path_factory.getbasetemp()
    shared = (shared.parent if "PYTEST_XDIST_WORKER" in os.environ else shared) / "shared"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            check_out(shared / "book")
            done = run_make(shared / "book", "book", "PROFILE=smoke", "JOBS=2")  # other workers wait for it
            (shared / "printed").write_text(f"{done.stdout}{done.returncode}")
    *printed, code = (shared / "printed").read_text().splitlines()
    assert code == "0", "\n".join(printed)[-5000:]
    shutil.copytree(shared / "book", checkout, symlinks=True, dirs_exist_ok=True)
    return "\n".join(printed).replace(str(shared / "book"), str(checkout))


@pytest.fixture(scope="session")
def book(checkout, built):
    """The folder of the book built in the smoke profile."""
    return checkout / "_build" / "html"


def check_out(folder: Path) -> None:
    """Copy the sources and the published speed tables, which a chapter shows, but no run."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*IGNORED))
    shutil.copytree(ROOT / "results" / "published" / "bench", folder / "results" / "published" / "bench")


def run_make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    # Independent of a make that may run these tests.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    command = ["make", "JOBS=1", *arguments, f"VENV={sys.prefix}", "SETUP="]
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
