import os
import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

from study.commands import build


def test_make_alone_lists_the_commands(make):
    listed = make().stdout
    for command in ("setup", "book", "read", "pdf", "archive", "verify", "test", "notebook", "run", "sweep", "clean"):
        assert f"make {command} " in listed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("book", "SEED=abc"), ["SEED=abc", "not a whole number", "SEED=1"]),
        (("sweep", "SEEDS=0 x"), ["'x'", "not a whole number", 'SEEDS="0 1 2"']),
        (("book", "PROFILE=lapptop"), ["PROFILE=lapptop", "choose from", "laptop", "smoke"]),
        (("run", "NB=study"), ["NB=study", "choose from", "empirical_study"]),
        (("read",), ["PROFILE=evening", "results/published", "make book"]),
        (("verify",), ["PROFILE=laptop", "results/published", "nothing is"]),
    ],
)
def test_wrong_input_fails_in_one_line_and_leaves_nothing(make, checkout, arguments, words):
    before = sorted(checkout.iterdir())
    done = make(*arguments)
    assert done.returncode != 0
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make:")]
    assert len(lines) == 1
    assert all(word in lines[0] for word in words)
    assert sorted(checkout.iterdir()) == before


def test_a_wrong_profile_ends_the_build_in_one_line(make, checkout, book):
    file = checkout / "notebooks" / "profiles" / "broken.yaml"
    file.write_text((file.parent / "smoke.yaml").read_text().replace("smoke", "broken") + "lerning_rate: 1\n")
    done = make("book", "PROFILE=broken")
    file.unlink()
    assert done.returncode != 0
    line = [line for line in done.stdout.splitlines() if not line.startswith("make:")][-1]
    assert line == "broken.yaml: lerning_rate: 1; unknown key, did you mean learning_rate?"
    assert not (checkout / "results" / "broken").exists()


def test_a_second_build_recomputes_nothing(make, checkout, book):
    made = [book / "index.html", checkout / "book" / "executed" / "empirical_study.ipynb"]
    made += list((checkout / "artifacts").rglob("*.safetensors"))
    before = [path.stat().st_mtime_ns for path in made]
    done = make("book", "PROFILE=smoke")
    assert done.returncode == 0
    assert done.stdout == f"The book: {book / 'index.html'}\n"
    assert [path.stat().st_mtime_ns for path in made] == before


TITLES = [
    "Empirical study",
    "Approximation error",
    "Convergence",
    "Changes in parameters",
    "Baselines",
    "Sensitivity",
    "Facts",
    "Counterfactuals",
    "Your own fine-tune",
    "How fast, and why",
    "Appendix B: Settings and data",
    "Introduction",
    "Conclusion",
]


def test_a_build_says_what_begins_and_is_made_and_verdicts_come_last(built, book):
    *lines, last = built.splitlines()
    assert last == f"The book: {book / 'index.html'}"
    begun = [line.removesuffix(": begun") for line in lines if line.endswith(": begun")]
    made = [line for line in lines if not line.endswith(": begun")]
    assert set(TITLES) < set(begun) and "alignment" in begun[:2]
    assert set(begun[-2:]) == {"Introduction", "Conclusion"}
    for number, line in enumerate(made, 1):
        name, done = line.split(": made in ")
        assert begun.count(name) == 1
        assert re.fullmatch(rf".+; {number} of \d+, \d+%, .+, about .+ left", done)
    assert len(made) == len(begun)


def test_a_failure_is_one_line_and_the_name_of_the_log(make, checkout, book):
    source = checkout / "notebooks" / "appendix_b.md"
    text = source.read_text()
    computed = "attributions.compute_attributions(run, selection.STUDIED)"
    source.write_text(text.replace(f"tasks = {computed}", "raise ValueError('x: 1; give 2')"))
    done = make("run", "PROFILE=smoke", "NB=appendix_b")
    source.write_text(text)
    lines = [line for line in done.stdout.splitlines() if not line.startswith("make:")]
    assert done.returncode != 0
    assert lines == [
        "Appendix B: Settings and data: begun",
        "appendix_b.md: ValueError: x: 1; give 2",
        "log: results/smoke/build.log",
    ]
    assert "x: 1; give 2" in (checkout / "results" / "smoke" / "build.log").read_text()


def test_a_changed_chapter_is_stale_and_the_verdicts_are_not_until_a_table_changes(make, checkout, book):
    done = make("book", "PROFILE=smoke")  # whose plan it is; the last one may be another's
    assert done.returncode == 0, done.stdout
    changed = {checkout / "notebooks" / f"{name}.md": "" for name in ("empirical_study", "parameter_change")}
    for source in changed:
        changed[source] = source.read_text()
        source.write_text(changed[source] + "\nA further sentence.\n")
    options = build.SNAKEMAKE[1 : build.SNAKEMAKE.index("--quiet")]
    command = [Path(sys.prefix, "bin", "snakemake"), "--dry-run", "--cores", "1", *options]
    command += ["--config", "plan=artifacts/smoke/plan.json", "--", "book"]

    def stale() -> set[str]:
        listed = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout
        return set(re.findall(r"output: book/executed/(\w+)\.ipynb", listed))

    assert stale() == {"empirical_study", "parameter_change"}
    for source, text in changed.items():
        source.write_text(text)
    table = checkout / "results" / "smoke" / "seed-0" / "facts.csv"
    text = table.read_text()
    os.utime(table)
    assert stale() == set()  # all as before, though written again
    table.write_text(text + "\n")
    assert stale() == {"introduction", "conclusion"}
    table.write_text(text)


def test_a_notebook_is_opened_as_a_copy_with_the_profile_in_it_and_never_overwritten(make, checkout):
    source, copy = checkout / "notebooks" / "facts.md", checkout / "notebooks" / "my" / "facts-smoke-3.ipynb"
    text = source.read_text(encoding="utf-8")
    arguments = ("notebook", "NB=facts", "PROFILE=smoke", "SEED=3", "LAB_ARGS=--version")
    done = make(*arguments)
    assert done.returncode == 0, done.stdout
    opened = jupytext.read(copy)
    assert "jupytext" not in opened.metadata, "paired, so that saving it would change the source"
    assert opened.cells[1].source.startswith('profile = "smoke"') and "seed = 3" in opened.cells[1].source
    opened.cells[1].source += "\nepochs = 2"
    jupytext.write(opened, copy)
    os.utime(copy, (source.stat().st_mtime - 10,) * 2)
    done = make(*arguments)
    assert "facts-smoke-3.ipynb is your copy from before" in done.stdout
    assert "epochs = 2" in jupytext.read(copy).cells[1].source, "one's own changes are there the next time"
    assert source.read_text(encoding="utf-8") == text
