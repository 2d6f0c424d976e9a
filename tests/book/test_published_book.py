"""The smoke book as if it were published: read without computing, and compared with itself."""

import re
import shutil
from functools import partial

import pandas as pd
import pytest

from ifcore import io
from study.commands import publish
from study.commands.contents import notebook_names


@pytest.fixture(scope="module")
def edition(checkout, built, tmp_path_factory):
    """A checkout whose seed 0 is both run and published, from a made-up commit."""
    folder = tmp_path_factory.mktemp("released") / "book"
    made = ("artifacts", "_build", ".snakemake", "seed-[1-9]*", "__pycache__")
    shutil.copytree(checkout, folder, ignore=shutil.ignore_patterns(*made))
    record = folder / "results" / "smoke" / "seed-0" / "run.json"
    io.write_json(record, io.read_json(record) | {"commit": "c" * 40, "dirty": False})
    shutil.copytree(checkout / "artifacts", folder / "artifacts")
    (publish.publish_edition(folder, "smoke") / "book" / "speed.ipynb").unlink()  # as if the chapter were new
    shutil.rmtree(folder / "artifacts")
    return folder


@pytest.fixture(scope="module")
def make_there(make, edition):
    return partial(make.func, edition)


def test_reading_builds_every_page_and_leaves_the_readers_own_book(make_there, edition):
    readers_page = edition / "_build" / "html" / "index.html"
    io.write_text(readers_page, "the reader's own")
    before = {path: path.stat().st_mtime_ns for path in edition.joinpath("book", "executed").iterdir()}
    done = make_there("read", "PROFILE=smoke")
    page = edition / "_build" / "published" / "html" / "index.html"
    message = f"The book, as published: {page}\nNot in that edition: speed; make book computes them\n"
    assert done.stdout == message
    assert not page.with_name("book").joinpath("executed", "speed.html").exists()
    for chapter in set(notebook_names(edition)) - {"speed"}:
        assert page.with_name("book").joinpath("executed", f"{chapter}.html").exists()
    assert 'id="tab-harmful"' in page.with_name("book").joinpath("executed", "empirical_study.html").read_text("utf-8")
    assert readers_page.read_text() == "the reader's own"
    assert {path: path.stat().st_mtime_ns for path in edition.joinpath("book", "executed").iterdir()} == before
    assert not (edition / "artifacts").exists()


def test_an_edition_says_how_long_each_job_and_chapter_took(edition, checkout):
    table = pd.read_csv(edition / "results" / "published" / "smoke" / "jobs.csv").set_index("name")
    assert "alignment" in table.index and set(notebook_names(edition)) <= set(table.index)
    assert (table.seconds > 1).all() and (table.megabytes > 50).all() and (table.speed > 0).all()


def test_verifying_passes_on_equal_tables_and_names_a_value_that_was_changed(make_there, edition):
    done = make_there("verify", "PROFILE=smoke")
    assert done.returncode == 0 and re.search(r" 0 differ or are missing$", done.stdout), done.stdout
    file = edition / "results" / "smoke" / "seed-0" / "table2_harmful.csv"
    frame = pd.read_csv(file)
    frame.loc[frame.method.eq("repsim").idxmax(), "value"] = 7
    io.write_csv(file, frame)
    done = make_there("verify", "PROFILE=smoke", "SEED=0")
    assert done.returncode != 0
    (named,) = (line for line in done.stdout.splitlines() if line.startswith("  differs: "))
    assert "table2_harmful, seed-0, mixed_small, repsim, " in named and named.endswith("this run 7")
