"""A finished sweep of two seeds and one chapter, made by hand."""

import os
import subprocess

import nbformat
import pytest

from ifcore import io
from study import config
from study.commands import publish
from study.estimate.durations import benchmark_file
from study.estimate.jobs import list_jobs

PROFILE = "profile: p\nmodel: random:tiny-llama\ndatasets: {}\n"
RECORD = {"commit": "c" * 40, "dirty": False, "versions": {"torch": "2"}, "machine": "a machine"}


@pytest.fixture
def root(tmp_path):
    io.write_text(tmp_path / "notebooks" / "profiles" / "p.yaml", PROFILE)
    io.write_text(tmp_path / "_toc.yml", "- file: book/executed/controls\n- file: book/introduction\n")
    for seed in (0, 1):
        write_run(tmp_path, seed)
        io.write_text(tmp_path / "results" / "p" / f"seed-{seed}" / "controls.csv", f"value\n{seed}\n")
        io.write_text(tmp_path / "results" / "p" / f"seed-{seed}" / "fig.png", "a figure")
    run = config.make_run("p", 0, root=tmp_path)
    for name in (*(job.name for job in list_jobs(run)), "controls"):
        io.write_text(benchmark_file(run, name), "s\tmax_rss\n60.0\t700\n")
    execute(tmp_path)
    return tmp_path


def write_run(root, seed, **change):
    digest = config.load(root / "notebooks" / "profiles" / "p.yaml").digest
    io.write_json(root / "results" / "p" / f"seed-{seed}" / "run.json", RECORD | {"digest": digest} | change)


def execute(root, output="Made by commit cccccccccc; torch 2", **parameters):
    values = {"profile": "p", "model": "random:tiny-llama", "datasets": {}, "seed": 0} | parameters
    source = "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in values.items())
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["injected-parameters"]})
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/markdown": output})]
    text = nbformat.writes(nbformat.v4.new_notebook(cells=[cell]))
    io.write_text(root / "book" / "executed" / "controls.ipynb", text)


def test_an_edition_has_the_tables_and_the_chapters_and_replaces_the_one_before(root):
    io.write_text(root / "results" / "p" / "seed-0" / "scorecard.csv", "claim\nall seeds'\n")  # of the shown seed
    publish.publish_edition(root, "p")
    io.write_text(root / "results" / "p" / "seed-1" / "controls.csv", "value\n2\n")
    target = publish.publish_edition(root, "p")
    files = sorted(str(path.relative_to(target)) for path in target.rglob("*") if path.is_file())
    assert files == [
        "book/controls.ipynb",
        "jobs.csv",
        "scorecard.csv",
        *(f"seed-{s}/{name}" for s in (0, 1) for name in ("controls.csv", "run.json")),
    ]
    assert (target / "seed-1" / "controls.csv").read_text() == "value\n2\n"
    assert (target / "jobs.csv").read_text().splitlines()[-1].startswith("controls,0.0,60.0,700.0,")
    assert sorted(path.name for path in (root / "results").iterdir()) == ["p", "published"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda root: benchmark_file(config.make_run("p", root=root), "controls").unlink(),
            ["artifacts/p/seed-0/jobs/controls.tsv: missing; make sweep"],
        ),
        (lambda root: write_run(root, 1, dirty=True), ["seed-1/run.json", "changed checkout of cccccccccc"]),
        (
            lambda root: write_run(root, 1, commit="d" * 40),
            ["seed-1/run.json", "dddddddddd", "seed-0 is of cccccccccc"],
        ),
        (lambda root: write_run(root, 1, commit=""), ["seed-1/run.json", "no commit"]),
        (lambda root: write_run(root, 0, digest="another"), ["seed-0/run.json", "digest another"]),
        (lambda root: io.write_text(root / "results/p/seed-1/lds.csv", "value\n"), ["seed-1", "lds.csv"]),
        (lambda root: execute(root, seed=2), ["controls.ipynb", "seed 2", "0, 1"]),
        (lambda root: execute(root, epochs=3), ["controls.ipynb", "profile p-", "not p as it is"]),
        (
            lambda root: execute(root, "Made by commit dddddddddd; torch"),
            ["controls.ipynb", "dddddddddd", "cccccccccc"],
        ),
        (lambda root: execute(root, '<small class="published">1</small>'), ["controls.ipynb", "earlier"]),
        (lambda root: execute(root, f"read from {root}/data"), ["controls.ipynb", "absolute path"]),
        (lambda root: (root / "book" / "executed" / "controls.ipynb").unlink(), ["controls.ipynb", "_toc.yml"]),
    ],
)
def test_what_is_not_one_clean_sweep_is_refused_in_a_line_and_nothing_is_published(root, change, words):
    change(root)
    with pytest.raises(ValueError) as raised:
        publish.publish_edition(root, "p")
    assert all(word in str(raised.value) for word in words) and "\n" not in str(raised.value)
    assert not (root / "results" / "published").exists()


def test_a_profile_that_was_edited_since_is_refused(root):
    io.write_text(root / "notebooks" / "profiles" / "p.yaml", PROFILE + "epochs: 3\n")
    with pytest.raises(ValueError, match="the profile's is"):
        publish.publish_edition(root, "p")


def test_a_table_from_before_the_commit_is_refused_for_it_is_of_another(root):
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "x"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    for seed in (0, 1):
        write_run(root, seed, commit=commit)
        table = root / "results" / "p" / f"seed-{seed}" / "controls.csv"
        os.utime(table, (table.stat().st_mtime + 2,) * 2)
    execute(root, f"Made by commit {commit[:10]}; torch 2")
    publish.publish_edition(root, "p")
    os.utime(table, (0, 0))
    with pytest.raises(ValueError, match="seed-1/controls.csv: older than the commit"):
        publish.publish_edition(root, "p")
