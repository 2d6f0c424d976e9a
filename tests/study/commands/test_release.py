"""An edition that grows seed by seed, at one commit, with a sweep that writes its tables by hand."""

import subprocess

import pytest

from ifcore import io
from study import config
from study.commands import release
from study.commands.publish import publish_edition
from study.estimate.durations import benchmark_file
from study.estimate.jobs import list_jobs
from tests.study.commands.test_publish import PROFILE, RECORD, execute


@pytest.fixture
def root(tmp_path):
    io.write_text(tmp_path / "notebooks" / "profiles" / "p.yaml", PROFILE)
    io.write_text(tmp_path / "_toc.yml", "- file: book/executed/controls\n")
    io.write_text(
        tmp_path / ".gitignore", "/results/*\n!/results/published/\n/_release/\n/artifacts/\n/book/executed/\n"
    )
    git(tmp_path, "init", "--quiet")
    commit(tmp_path, "one")
    return tmp_path


def git(root, *command):
    names = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", "-C", str(root), *names, *command], check=True, capture_output=True, text=True).stdout


def commit(root, message):
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(root, "rev-parse", "HEAD").strip()


def sweep(work, profile, seed, **change):
    head = git(work, "rev-parse", "HEAD").strip()
    record = RECORD | {"digest": config.load(work / "notebooks/profiles/p.yaml").digest, "commit": head} | change
    io.write_json(work / "results" / profile / f"seed-{seed}" / "run.json", record)
    io.write_text(work / "results" / profile / f"seed-{seed}" / "controls.csv", f"value\n{seed}\n")
    run = config.make_run(profile, seed, root=work)
    for name in (*(job.name for job in list_jobs(run)), "controls"):
        io.write_text(benchmark_file(run, name), "s\tmax_rss\n60.0\t700\n")
    execute(work, f"Made by commit {head[:10]}; torch 2", seed=seed)
    publish_edition(work, profile)


def tables(edition):
    return {folder.name: (folder / "controls.csv").read_text() for folder in edition.glob("seed-*")}


def test_seeds_join_the_edition_at_its_commit_however_old_with_their_minutes(root):
    first = git(root, "rev-parse", "HEAD").strip()
    edition = release.release(root, "p", [10], sweep)
    io.write_text(root / "notebooks" / "profiles" / "p.yaml", PROFILE + "epochs: 3\n")  # another profile, later
    commit(root, "two")
    io.write_text(root / "changed.txt", "which an edition that has begun does not mind")
    release.release(root, "p", [10, 11], sweep)
    assert tables(edition) == {"seed-10": "value\n10\n", "seed-11": "value\n11\n"}
    records = [io.read_json(edition / f"seed-{seed}" / "run.json") for seed in (10, 11)]
    assert {record["commit"] for record in records} == {first} and all(r["core_minutes"] > 0 for r in records)
    assert (edition / "book" / "controls.ipynb").is_file() and (edition / "jobs.csv").is_file()


def test_a_worktree_has_no_edition_but_the_benchmarks_that_a_chapter_shows(root):
    for name in ("q/seed-0/run.json", "bench/bench.json"):
        io.write_json(root / "results" / "published" / name, {})
    commit(root, "two")

    def look(work, profile, seed):
        assert sorted(path.name for path in (work / "results" / "published").iterdir()) == ["bench"]
        sweep(work, profile, seed)

    release.release(root, "p", [10], look)


def test_a_killed_release_leaves_the_edition_as_it_was_and_goes_on(root):
    edition = release.release(root, "p", [10], sweep)

    def killed(work, profile, seed):
        io.write_text(work / "artifacts" / "half.txt", "half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        release.release(root, "p", [11], killed)
    assert tables(edition) == {"seed-10": "value\n10\n"} and len(list(root.glob("_release/*/artifacts/half.txt"))) == 1
    release.release(root, "p", [11], sweep)
    assert set(tables(edition)) == {"seed-10", "seed-11"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"commit": "d" * 40}, "is of dddddddddd|commit dddddddddd"),
        ({"dirty": True}, "made by a changed checkout"),
        ({"precision": "float32"}, "seed-10 is in None"),
        ({"digest": "another"}, "digest another"),
    ],
)
def test_tables_of_another_commit_state_precision_or_profile_do_not_join(root, change, words):
    edition = release.release(root, "p", [10], sweep)
    with pytest.raises(ValueError, match=words):
        release.release(root, "p", [11], lambda *of: sweep(*of, **change))
    assert tables(edition) == {"seed-10": "value\n10\n"}


def test_an_edition_begins_with_a_clean_commit(root):
    io.write_text(root / "changed.txt", "x")
    with pytest.raises(ValueError, match="commit the checkout's changes first"):
        release.release(root, "p", [10], sweep)


def test_a_seed_that_joins_an_edition_is_computed_in_its_precision(root, monkeypatch, capfd):
    monkeypatch.chdir(root)
    io.write_text(root / "Makefile", "sweep:\n\t@echo in $(PRECISION)$(STUDY_PRECISION)\n\t@false\n")
    for name in release.PINNED:
        io.write_text(root / name, "")
    for edition, words in (("float32", "in float32\n"), ("bfloat16", "in bfloat16\n"), ("", "in\n")):
        record = root / "results" / "published" / "p" / "seed-10" / "run.json"
        io.write_json(record, {"precision": edition})
        monkeypatch.setattr(release, "native_precision", lambda: "bfloat16")
        with pytest.raises(RuntimeError, match="seed 11: not finished"):
            release.sweep(root, "p", 11)
        assert capfd.readouterr().out == words
    io.write_json(record, {"precision": "bfloat16"})
    monkeypatch.setattr(release, "native_precision", lambda: "float32")
    with pytest.raises(ValueError, match="p: its seeds are in bfloat16"):
        release.sweep(root, "p", 11)
