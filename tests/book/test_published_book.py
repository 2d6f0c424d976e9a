"""The smoke book as if it were published: read without computing, and compared with itself."""

import re
import shutil
from functools import partial

import pandas as pd
import pytest

from ifcore import io
from study.commands import publish


@pytest.fixture(scope="module")
def released(checkout, built, tmp_path_factory):
    """A checkout whose seed 0 is both run and published; that it is of a commit is claimed, as tests have none."""
    folder = tmp_path_factory.mktemp("released") / "book"
    made = ("artifacts", "_build", ".snakemake", "seed-[1-9]*", "__pycache__")
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(*made))
    about = folder / "results" / "smoke" / "seed-0" / "run.json"
    io.write_json(about, io.read_json(about) | {"commit": "c" * 40, "dirty": False})
    (publish.release(folder, "smoke") / "book" / "speed.ipynb").unlink()  # as if the chapter were new
    return folder


@pytest.fixture(scope="module")
def make_there(make, released):
    return partial(make.func, released)


def test_reading_builds_every_page_and_leaves_the_readers_own_book(make_there, released):
    own = released / "_build" / "html" / "index.html"
    io.write_text(own, "the reader's own")
    before = {path: path.stat().st_mtime_ns for path in released.joinpath("book", "executed").iterdir()}
    done = make_there("read", "PROFILE=smoke")
    page = released / "_build" / "published" / "html" / "index.html"
    said = f"The book, as published: {page}\nNot in that edition: speed; make book computes them\n"
    assert done.stdout == said
    assert not page.with_name("book").joinpath("executed", "speed.html").exists()
    for chapter in set(publish.named_chapters(released)) - {"speed"}:
        assert page.with_name("book").joinpath("executed", f"{chapter}.html").exists()
    assert 'id="tab-harmful"' in page.with_name("book").joinpath("executed", "empirical_study.html").read_text("utf-8")
    assert own.read_text() == "the reader's own"
    assert {path: path.stat().st_mtime_ns for path in released.joinpath("book", "executed").iterdir()} == before
    assert not (released / "artifacts").exists()


def test_verifying_passes_on_equal_tables_and_names_a_value_that_was_changed(make_there, released):
    done = make_there("verify", "PROFILE=smoke")
    assert done.returncode == 0 and re.search(r" 0 differ or are missing$", done.stdout), done.stdout
    file = released / "results" / "smoke" / "seed-0" / "table2_harmful.csv"
    frame = pd.read_csv(file)
    frame.loc[frame.method.eq("repsim").idxmax(), "value"] = 7
    io.write_csv(file, frame)
    done = make_there("verify", "PROFILE=smoke", "SEED=0")
    assert done.returncode != 0
    (named,) = (line for line in done.stdout.splitlines() if line.startswith("  differs: "))
    assert "table2_harmful, seed-0, mixed_small, repsim, " in named and named.endswith("this run 7")
