import os
import shutil
from pathlib import Path

import pytest

from ifcore import io
from study import config
from study.commands import work_plan
from study.estimate import durations, jobs

ROOT = Path(__file__).parents[3]
CHAPTERS = ["empirical_study", "approximation_error", "convergence", "parameter_change"]
CHAPTERS += ["controls", "sensitivity", "facts", "counterfactual", "your_own", "speed", "appendix_b"]


@pytest.fixture
def pieces(monkeypatch):
    """The pieces of a plan of the checkout: pieces(seed, target, seeds)."""
    monkeypatch.chdir(ROOT)

    def make(*wanted):
        return {piece.output: piece for piece in work_plan.pieces_of(work_plan.make_plan("smoke", *wanted))}

    return make


def test_a_book_is_its_jobs_and_its_chapters_which_come_after_them(pieces):
    plan, run = pieces(0, "book", []), config.make_run("smoke", root=ROOT)
    records = {job.name: f"artifacts/smoke/seed-0/jobs/{job.name}.json" for job in jobs.list_jobs(run)}
    records[jobs.ALIGNMENT] = "artifacts/smoke/jobs/alignment.json"
    verdicts = ["introduction", "conclusion"]  # which read what the others leave
    shown = [f"book/executed/{name}.ipynb" for name in CHAPTERS + verdicts]
    assert list(plan) == [*records.values(), *shown]
    for job in jobs.list_jobs(run):
        assert plan[records[job.name]].after == [records[name] for name in sorted(job.after)]
        for chapter in job.chapters:
            assert records[job.name] in plan[f"book/executed/{chapter}.ipynb"].after
    for name in verdicts:
        assert plan[f"book/executed/{name}.ipynb"].after == shown[:-2]
    hashes = f"artifacts/smoke/{work_plan.HASHES}"
    assert [output for output, piece in plan.items() if hashes in piece.inputs] == shown[-2:]
    assert plan["book/executed/convergence.ipynb"].label == "Convergence"
    assert plan["book/executed/speed.ipynb"].after == []


def test_the_longest_path_has_priority(pieces):
    plan = pieces(0, "book", [])
    for piece in plan.values():
        assert all(plan[output].priority >= piece.priority + int(plan[output].seconds) for output in piece.after)
    assert max(plan.values(), key=lambda piece: piece.priority).output == "artifacts/smoke/jobs/alignment.json"


def test_a_sweep_has_every_other_seed_before_the_book_and_the_alignment_once(pieces):
    plan = pieces(0, "sweep", [0, 1])
    notebooks = [output for output in plan if output.endswith(".ipynb")]
    swept = [f"results/smoke/seed-1/{name}.ipynb" for name in CHAPTERS]
    assert notebooks[: len(swept)] == swept  # those of seed 0 are the book's
    assert all(output.startswith("book/executed/") for output in notebooks[len(swept) :])
    assert sum(output.endswith("alignment.json") for output in plan) == 1
    assert swept[0] in plan["book/executed/empirical_study.ipynb"].after
    assert set(swept) <= set(plan["book/executed/introduction.ipynb"].after)
    assert plan[swept[0]].label.endswith(", seed 1")


def test_the_books_chapters_read_the_tables_of_seeds_that_ran_earlier_and_others_do_not(pieces, monkeypatch):
    monkeypatch.setattr(work_plan, "_other_tables", lambda run, swept: [f"other than {run.seed}, {swept}"])
    plan = pieces(0, "sweep", [1])
    assert "other than 0, [1]" in plan["book/executed/facts.ipynb"].inputs
    assert not any("other than" in path for path in plan["results/smoke/seed-1/facts.ipynb"].inputs)


def test_one_notebook_takes_the_jobs_that_it_needs(pieces):
    plan = pieces(3, "facts", [])
    names = {Path(output).stem for output in plan}
    listed = jobs.list_jobs(config.make_run("smoke", 3, root=ROOT))
    assert names == {"facts", jobs.ALIGNMENT, *(job.name for job in listed if "facts" in job.chapters)}
    assert "results/smoke/seed-3/facts.ipynb" in plan
    alone = pieces(3, "conclusion", [])
    wanted = [f"results/smoke/seed-3/{name}.ipynb" for name in [*CHAPTERS, "conclusion"]]
    assert [output for output in alone if output.endswith(".ipynb")] == wanted
    assert list(pieces(0, "speed", [])) == ["results/smoke/seed-0/speed.ipynb"]


def test_a_chapters_figures_are_its_own_and_no_jobs(pieces):
    plan = pieces(0, "book", [])
    readers = [output for output, piece in plan.items() if "study/chapters/convergence/show.py" in piece.inputs]
    assert readers == ["book/executed/convergence.ipynb"]
    measured = [output for output, piece in plan.items() if "study/chapters/facts/measure.py" in piece.inputs]
    assert "book/executed/facts.ipynb" in measured and "book/executed/convergence.ipynb" not in measured
    assert all("ifcore/training.py" in piece.inputs for piece in plan.values() if "artifacts" in piece.output)
    for piece in plan.values():
        assert all(Path(path).is_file() for path in piece.inputs if not path.endswith("/tables.json"))


def test_the_hashes_of_tables_are_written_when_a_tables_content_has_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table, folder = Path("results", "smoke", "seed-0", "facts.csv"), Path("artifacts", "smoke")
    work_plan.write_table_hashes(folder)
    assert (folder / work_plan.HASHES).read_text().strip() == "{}"
    table.parent.mkdir(parents=True)
    moments = []
    for text in ("a", "a", "b"):
        table.write_text(text)
        work_plan.write_table_hashes(folder)
        moments.append((folder / work_plan.HASHES).stat().st_mtime_ns)
    assert moments[0] == moments[1] < moments[2]


def test_a_plan_is_made_again_when_something_that_it_is_made_from_has_changed(monkeypatch, tmp_path):
    for folder in ("notebooks", "study", "ifcore", "book"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("executed", "__pycache__"))
    shutil.copy(ROOT / "_toc.yml", tmp_path)
    monkeypatch.chdir(tmp_path)
    wanted, file = ("smoke", 0, "facts", []), tmp_path / "plan.json"
    assert work_plan.load_plan(file, *wanted) is None
    plan = work_plan.make_plan(*wanted)
    io.write_json(file, plan)
    assert work_plan.load_plan(file, *wanted) == plan
    assert work_plan.load_plan(file, "smoke", 1, "facts", []) is None
    io.write_text(Path("results", "smoke", "seed-0", "facts.csv"), "its own")
    assert work_plan.load_plan(file, *wanted) == plan
    os.utime("study/selection.py")
    assert work_plan.load_plan(file, *wanted) is None


def test_memory_is_what_was_recorded_else_what_is_counted_and_no_more_than_there_is(pieces, monkeypatch):
    duration = durations.Duration(9.0, True, 1234.0)
    monkeypatch.setattr(
        durations,
        "expected_durations",
        lambda run, speed, names: {name: duration for name in [*names, *(job.name for job in jobs.list_jobs(run))]},
    )
    assert {piece.megabytes for piece in pieces(0, "facts", []).values()} == {1234}
    monkeypatch.setattr(work_plan.psutil, "virtual_memory", lambda: type("", (), {"total": 10**9}))
    assert {piece.megabytes for piece in pieces(0, "facts", []).values()} == {1000}
