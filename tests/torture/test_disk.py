"""A disk that is full, and folders that can't be written to: a line that says which, and nothing is lost or made up."""

import shutil

import pytest

from tests.torture.conftest import COUNTS, assert_same_tables, done
from tests.torture.own import attribution

ROOM = 2**17  # KiB, enough for all


def moved(folder, name, disk):
    """A folder of the checkout lies on another disk from now on."""
    place = disk / name.replace("/", "-")
    place.mkdir()
    if (folder / name).exists():
        shutil.copytree(folder / name, place, dirs_exist_ok=True)
        shutil.rmtree(folder / name)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(place, target_is_directory=True)


def unmade(folder):
    """As if one chapter, and the pages, had not been made yet."""
    shutil.rmtree(folder / "artifacts" / "smoke" / "seed-0" / "facts")
    for name in ("results/smoke/build.log", "results/smoke/seed-0/facts.csv"):
        (folder / name).unlink()
    for name in ("book/executed/facts.ipynb", "_build/html/index.html"):
        (folder / name).unlink()


@pytest.mark.parametrize("kib", [8, 120])
def test_artifacts_on_a_full_disk(start, make, fresh, intact, small, kib):
    disk = small(kib)
    moved(fresh, "artifacts", disk)
    full = make(fresh, "run", "NB=facts")
    COUNTS["full disks"] += 1
    assert full.process.returncode != 0, "it all fitted"
    told, log = full.lines[-2:]
    assert "disk full while writing" in told and told.endswith("free some space and start again: it goes on from here")
    assert log == "log: results/smoke/build.log"
    made = done(fresh)
    small.grow(disk, ROOM)
    last = make(fresh, "run", "NB=facts")
    assert last.process.returncode == 0, last.said
    assert all(path.stat().st_mtime_ns == born for path, born in made.items() if path.exists())
    assert_same_tables(fresh, intact, every=False)


@pytest.mark.parametrize(("name", "kib"), [("results", 8), (".snakemake", 8), ("book/executed", 8)])
def test_whatever_else_is_full_says_so(make, copy, intact, small, name, kib):
    """The build's own folders: its log and tables, Snakemake's notes, the executed notebooks."""
    disk = small(ROOM)
    moved(copy, name, disk)
    unmade(copy)
    used = sum(path.stat().st_blocks // 2 for path in disk.rglob("*") if path.is_file()) + 16
    small.grow(disk, used + kib)
    full = make(copy, "book")
    COUNTS["full disks"] += 1
    if full.process.returncode != 0:
        assert len(full.lines) <= 6 and "Traceback" not in full.said, full.said
        assert "space" in full.said or "disk full" in full.said, full.said
    small.grow(disk, ROOM)
    last = make(copy, "book")
    assert last.process.returncode == 0, last.said
    assert_same_tables(copy, intact)


def test_pages_on_a_full_disk(make, copy, small):
    shutil.rmtree(copy / "_build")
    disk = small(6_000)
    moved(copy, "_build", disk)
    full = make(copy, "book")
    COUNTS["full disks"] += 1
    assert full.process.returncode != 0
    assert len(full.lines) <= 2 and "Traceback" not in full.said and "space" in full.said, full.said
    small.grow(disk, ROOM)
    last = make(copy, "book")
    assert last.process.returncode == 0, last.said
    for page in (copy / "_build" / "html" / "book").rglob("*.html"):
        assert page.read_text(encoding="utf-8").rstrip().endswith("</html>"), page


def test_a_full_folder_of_temporary_files(make, fresh, intact, small):
    disk = small(16)
    full = make(fresh, "run", "NB=facts", TMPDIR=str(disk))
    COUNTS["full disks"] += 1
    assert full.process.returncode != 0
    assert len(full.lines) <= 3 and "Traceback" not in full.said and "space" in full.said, full.said
    small.grow(disk, ROOM)
    last = make(fresh, "run", "NB=facts", TMPDIR=str(disk))
    assert last.process.returncode == 0, last.said
    assert_same_tables(fresh, intact, every=False)


@pytest.mark.parametrize("kib", [8, 100])
def test_scores_on_a_full_disk(start, tmp_path, small, kib):
    expected, disk = attribution(tmp_path), small(kib)
    full = start(tmp_path, command=expected.command(out=str(disk)))
    assert full.ended() == 1, full.said
    COUNTS["full disks"] += 1
    told = full.said.splitlines()[-1]
    assert told.startswith("ifcore attribute: ") and "disk full while writing" in told, full.said
    assert "Traceback" not in full.said
    assert not list(disk.glob("*.csv"))
    small.grow(disk, ROOM)
    again = start(tmp_path, command=expected.command(out=str(disk)))
    assert again.ended() == 0, again.said
    expected.assert_same(disk)


@pytest.mark.parametrize("name", ["artifacts", "results", "book/executed", "_build", ".snakemake"])
def test_a_folder_that_cant_be_written_to_is_named(make, copy, intact, frozen, name):
    unmade(copy)
    frozen(copy / name)
    stopped = make(copy, "book")
    COUNTS["folders frozen"] += 1
    assert stopped.process.returncode != 0
    told = [line for line in stopped.lines if not line.startswith("chapter ")]
    assert len(told) <= 2 and "Traceback" not in stopped.said, stopped.said
    assert name.split("/")[-1] in stopped.said and "ead-only" in stopped.said, stopped.said
    frozen.thaw(copy / name)
    if name != "artifacts":
        return
    last = make(copy, "book")
    assert last.process.returncode == 0, last.said
    assert_same_tables(copy, intact)


def test_a_book_that_is_made_is_read_from_a_folder_that_cant_be_written_to(make, copy, frozen):
    """Nothing is to be done; that needs no right to write but that to say so."""
    page = copy / "_build" / "html" / "index.html"
    frozen(copy / "artifacts")
    again = make(copy, "book")
    COUNTS["folders frozen"] += 1
    assert again.said == f"The book: {page}\n"


def test_scores_where_nothing_can_be_written(start, tmp_path, frozen):
    expected = attribution(tmp_path)
    (tmp_path / "scores").mkdir()
    frozen(tmp_path / "scores")
    stopped = start(tmp_path, command=expected.command())
    assert stopped.ended() == 1
    COUNTS["folders frozen"] += 1
    told = stopped.said.splitlines()[-1]
    assert told.startswith("ifcore attribute: ") and "scores" in told and "ead-only" in told, stopped.said
    assert "Traceback" not in stopped.said
