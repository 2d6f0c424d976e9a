"""A full disk, and read-only folders: one line names them, and no result is lost or wrong."""

import shutil

import pytest

from tests.torture.attribute_command import attribution
from tests.torture.conftest import COUNTS, assert_same_tables, finished_files

ENOUGH = 2**17  # KiB


def move_to_disk(folder, name, disk):
    """Move a folder of the checkout to another disk, behind a link."""
    place = disk / name.replace("/", "-")
    place.mkdir()
    if (folder / name).exists():
        shutil.copytree(folder / name, place, dirs_exist_ok=True)
        shutil.rmtree(folder / name)
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).symlink_to(place, target_is_directory=True)


def remove_facts(folder):
    """Remove a chapter and the start page, as if they had not been made yet."""
    shutil.rmtree(folder / "artifacts" / "smoke" / "seed-0" / "facts")
    for name in ("results/smoke/build.log", "results/smoke/seed-0/facts.csv"):
        (folder / name).unlink()
    for name in ("book/executed/facts.ipynb", "_build/html/index.html"):
        (folder / name).unlink()


@pytest.mark.parametrize("kib", [8, 120])
def test_artifacts_on_a_full_disk(start, make, fresh, intact, small, kib):
    disk = small(kib)
    move_to_disk(fresh, "artifacts", disk)
    full = make(fresh, "run", "NB=facts")
    COUNTS["full disks"] += 1
    assert full.process.returncode != 0, "it all fitted"
    line, log = full.lines[-2:]
    assert "disk full while writing" in line and line.endswith("free some space and start again: it goes on from here")
    assert log == "log: results/smoke/build.log"
    made = finished_files(fresh)
    small.grow(disk, ENOUGH)
    last = make(fresh, "run", "NB=facts")
    assert last.process.returncode == 0, last.output
    assert all(path.stat().st_mtime_ns == born for path, born in made.items() if path.exists())
    assert_same_tables(fresh, intact, every=False)


@pytest.mark.parametrize(("name", "kib"), [("results", 8), (".snakemake", 8), ("book/executed", 8)])
def test_whatever_else_is_full_says_so(make, copy, intact, small, name, kib):
    """The build's folders: its log and tables, Snakemake's records, the executed notebooks."""
    disk = small(ENOUGH)
    move_to_disk(copy, name, disk)
    remove_facts(copy)
    used = sum(path.stat().st_blocks // 2 for path in disk.rglob("*") if path.is_file()) + 16
    small.grow(disk, used + kib)
    full = make(copy, "book")
    COUNTS["full disks"] += 1
    if full.process.returncode != 0:
        assert len(full.lines) <= 6 and "Traceback" not in full.output, full.output
        assert "space" in full.output or "disk full" in full.output, full.output
    small.grow(disk, ENOUGH)
    last = make(copy, "book")
    assert last.process.returncode == 0, last.output
    assert_same_tables(copy, intact)


def test_pages_on_a_full_disk(make, copy, small):
    shutil.rmtree(copy / "_build")
    disk = small(6_000)
    move_to_disk(copy, "_build", disk)
    full = make(copy, "book")
    COUNTS["full disks"] += 1
    assert full.process.returncode != 0
    assert len(full.lines) <= 2 and "Traceback" not in full.output and "space" in full.output, full.output
    small.grow(disk, ENOUGH)
    last = make(copy, "book")
    assert last.process.returncode == 0, last.output
    for page in (copy / "_build" / "html" / "book").rglob("*.html"):
        assert page.read_text(encoding="utf-8").rstrip().endswith("</html>"), page


def test_a_full_folder_of_temporary_files(make, fresh, intact, small):
    disk = small(16)
    full = make(fresh, "run", "NB=facts", TMPDIR=str(disk))
    COUNTS["full disks"] += 1
    assert full.process.returncode != 0
    assert len(full.lines) <= 3 and "Traceback" not in full.output and "space" in full.output, full.output
    small.grow(disk, ENOUGH)
    last = make(fresh, "run", "NB=facts", TMPDIR=str(disk))
    assert last.process.returncode == 0, last.output
    assert_same_tables(fresh, intact, every=False)


@pytest.mark.parametrize("kib", [8, 100])
def test_scores_on_a_disk_that_is_too_small(start, tmp_path, small, kib):
    expected, disk = attribution(tmp_path), small(kib)
    full = start(tmp_path, command=expected.command(out=str(disk)))
    assert full.wait() == 1, full.output
    COUNTS["full disks"] += 1
    line = full.output.splitlines()[-1]
    assert line.startswith("ifcore attribute: ") and "choose another disk" in line, full.output
    assert "Traceback" not in full.output
    assert not list(disk.glob("*.csv"))
    small.grow(disk, 4 * ENOUGH)  # beyond what a run leaves to others
    second = start(tmp_path, command=expected.command(out=str(disk)))
    assert second.wait() == 0, second.output
    expected.assert_same(disk)


@pytest.mark.parametrize("name", ["artifacts", "results", "book/executed", "_build", ".snakemake"])
def test_a_read_only_folder_is_named(make, copy, intact, frozen, name):
    remove_facts(copy)
    frozen(copy / name)
    stopped = make(copy, "book")
    COUNTS["folders frozen"] += 1
    assert stopped.process.returncode != 0
    lines = [line for line in stopped.lines if not line.startswith("chapter ")]
    assert len(lines) <= 2 and "Traceback" not in stopped.output, stopped.output
    assert name.split("/")[-1] in stopped.output and "ead-only" in stopped.output, stopped.output
    frozen.thaw(copy / name)
    if name != "artifacts":
        return
    last = make(copy, "book")
    assert last.process.returncode == 0, last.output
    assert_same_tables(copy, intact)


def test_a_finished_book_can_be_opened_from_a_read_only_folder(make, copy, frozen):
    """With nothing to build, no write permission is needed."""
    page = copy / "_build" / "html" / "index.html"
    frozen(copy / "artifacts")
    second = make(copy, "book")
    COUNTS["folders frozen"] += 1
    assert second.output == f"The book: {page}\n"


def test_scores_where_nothing_can_be_written(start, tmp_path, frozen):
    expected = attribution(tmp_path)
    (tmp_path / "scores").mkdir()
    frozen(tmp_path / "scores")
    stopped = start(tmp_path, command=expected.command())
    assert stopped.wait() == 1
    COUNTS["folders frozen"] += 1
    line = stopped.output.splitlines()[-1]
    assert line.startswith("ifcore attribute: ") and "scores" in line and "ead-only" in line, stopped.output
    assert "Traceback" not in stopped.output
