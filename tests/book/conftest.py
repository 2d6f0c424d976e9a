"""A copy of the sources in which the front door may be tried, with the environment that runs the tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MADE = (
    ".git",
    ".venv",
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
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*MADE))
    return folder


@pytest.fixture(scope="session")
def make(checkout):
    """Runs make there: make("book", "PROFILE=smoke") -> CompletedProcess, its output in .stdout."""

    # Not as a part of the make that may run these tests.
    alone = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}

    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = ["make", *arguments, f"VENV={sys.prefix}", "SETUP=", "SNAKEMAKE_ARGS=--cores 1"]
        return subprocess.run(
            command, cwd=checkout, env=alone, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    return run


@pytest.fixture(scope="session")
def built(make):
    """What building the book in the smoke profile printed, from nothing."""
    done = make("book", "PROFILE=smoke")
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


@pytest.fixture(scope="session")
def book(checkout, built):
    """The folder of the book built in the smoke profile."""
    return checkout / "_build" / "html"
