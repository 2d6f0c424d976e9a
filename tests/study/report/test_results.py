import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pandas as pd

from ifcore import io
from study.report import provenance
from study.report.results import read_tables, save_table, table_folders

FRAME = pd.DataFrame({"dataset": ["grammars"], "method": ["exact"], "metric": ["accuracy"], "value": [1.0]})


def test_tables_of_an_edited_profile_are_gone_before_they_can_be_averaged(run):
    save_table(run, "old", FRAME)
    io.write_json(run.results / "run.json", {"digest": "another"})
    save_table(run, "new", FRAME)
    assert sorted(path.name for path in run.results.glob("*.csv")) == ["new.csv"]


def test_tables_are_read_of_all_seeds_of_the_same_profile_and_of_no_other(run):
    for seed in (0, 1, 2):
        save_table(replace(run, seed=seed), "scores", FRAME)
    save_table(run, "other", FRAME)
    io.write_json(replace(run, seed=1).results / "run.json", {"digest": "another"})
    tables = read_tables(table_folders(run))
    assert {name: list(frame.seed) for name, frame in tables.items()} == {"scores": [0, 2], "other": [0]}


def test_two_notebooks_that_publish_at_once_never_delete_each_others_tables(run, monkeypatch):
    """Each looks at whose tables there are, while the other is about to write."""
    names = [f"table{i}" for i in range(8)]
    for _ in range(5):
        save_table(run, "old", FRAME)
        io.write_json(run.results / "run.json", {"digest": "another"})
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda name: save_table(run, name, FRAME), names))
        assert sorted(path.stem for path in run.results.glob("*.csv")) == names


def test_a_run_says_the_commit_and_whether_it_was_changed(run):
    def git(*command):
        subprocess.run(["git", "-C", str(run.root), "-c", "user.name=a", "-c", "user.email=a@b", *command], check=True)

    (run.root / "mine.txt").write_text("not in Git")
    git("init", "--quiet"), git("commit", "--quiet", "--allow-empty", "--message", "x")
    provenance.provenance.cache_clear()
    record = provenance.provenance(run.root)
    assert len(record["commit"]) == 40 and record["dirty"]
    (run.root / ".gitignore").write_text("*")
    provenance.provenance.cache_clear()
    assert not provenance.provenance(run.root)["dirty"]
    save_table(run, "new", FRAME)
    assert io.read_json(run.results / "run.json")["commit"] == record["commit"]
    assert record["commit"][:10] in provenance.provenance_line(run.root)


def test_without_git_a_run_says_so(run, monkeypatch):
    monkeypatch.setenv("PATH", "")
    provenance.provenance.cache_clear()
    assert provenance.provenance_line(run.root).startswith("files outside Git")
