"""Publish a finished sweep: its tables and the book that shows them, under results/published/.

Publishes what `make sweep` left: the tables and the run.json of each seed of a profile, and the executed notebooks of
the book. All must be made by one commit, without uncommitted changes, for the profile as it is now. Run it in the
checkout that made the sweep, before anything else is built there.
"""

import argparse
import ast
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd

from ifcore import io
from study import config
from study.commands.contents import EXECUTED, notebook_names
from study.commands.error_lines import one_line_errors
from study.estimate.durations import recorded_durations
from study.report.provenance import git
from study.report.published import FOLDER, SCORECARD
from study.site.links import FOLDER as FILES
from study.site.links import linked_files


def publish_edition(root: Path, profile: str) -> Path:
    """Copy results/<profile>/seed-*/ (CSV, run.json) and book/executed/ to results/published/<profile>/, its path.

    Beside them jobs.csv: how long each job and chapter of the seed shown took, their sum being in its run.json.
    Replaces what was published of the profile as a whole.
    Raises ValueError, in one line, for seeds and chapters that are not of one unchanged commit and of the profile as it
    is now, or that show what is published or a local folder.
    """
    digest = config.make_run(profile, root=root).profile.digest
    seeds = sorted((root / "results" / profile).glob("seed-*"))
    commit = _check_seeds(root, profile, seeds, digest)
    chapters = [root / EXECUTED / f"{name}.ipynb" for name in notebook_names(root)]
    shown = _check_chapters(root, profile, chapters, seeds, digest, commit)
    copies = {file: seed.name for seed in seeds for file in (*_tables(seed), seed / "run.json")}
    if (scorecard := root / "results" / profile / f"seed-{shown}" / SCORECARD).is_file():
        copies[scorecard] = "."
    for chapter in chapters:
        linked = linked_files(chapter.read_text(encoding="utf-8"))
        copies |= {chapter: "book"} | {chapter.parent / FILES / name: f"book/{FILES}" for name in linked}
    durations = _durations(config.make_run(profile, shown or 0, root=root))
    if shown is not None:
        record = root / "results" / profile / f"seed-{shown}" / "run.json"
        minutes = round(float(durations.seconds.sum()) / 60, 1)
        io.write_json(record, io.read_json(record) | {"core_minutes": minutes})
    with replaced(root / FOLDER / profile) as draft:
        io.write_csv(draft / "jobs.csv", durations)
        for file, folder in copies.items():
            (draft / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, draft / folder)
    return root / FOLDER / profile


def _durations(run: config.Run) -> pd.DataFrame:
    """How long the jobs and chapters of the shown seed took."""
    try:
        return recorded_durations(run, notebook_names(run.root))
    except FileNotFoundError as error:
        name = Path(error.filename).relative_to(run.root)
        raise ValueError(f"{name}: missing; {_sweep(run.profile.name)}") from None


@contextmanager
def replaced(target: Path) -> Iterator[Path]:
    """The path of a draft that takes the place of the folder `target` once it is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parents[1], prefix=".") as scratch:
        draft, stale = Path(scratch, "new"), Path(scratch, "old")
        yield draft
        try:
            if target.exists():
                target.rename(stale)
            draft.rename(target)
        finally:
            if stale.exists() and not target.exists():
                stale.rename(target)


def _tables(seed: Path) -> list[Path]:
    """Those that every seed has."""
    return [table for table in sorted(seed.glob("*.csv")) if table.name != SCORECARD]


def _check_seeds(root: Path, profile: str, seeds: list[Path], digest: str) -> str:
    """The commit that made all the seeds."""
    _require(bool(seeds), f"results/{profile}: no seed-* in it", f"make sweep PROFILE={profile} first")
    remedy = f"{_sweep(profile)}, or move away what does not belong there"
    first, commit = seeds[0], ""
    for seed in seeds:
        record, name = io.read_json(seed / "run.json"), seed.relative_to(root)
        file, tables = f"{name}/run.json", _tables(seed)
        for key in ("commit", "versions", "machine", "digest"):
            _require(bool(record.get(key)), f"{file}: no {key}", remedy)
        made, commit = record["commit"], commit or record["commit"]
        clean = not record.get("dirty", True)
        _require(clean, f"{file}: made by a changed checkout of {made[:10]}", f"commit, then {remedy}")
        problem = f"{file}: digest {record['digest']}, the profile's is {digest} now"
        _require(record["digest"] == digest, problem, remedy)
        made_in, others = record.get("precision"), io.read_json(first / "run.json").get("precision")
        _require(made_in == others, f"{file}: {made_in}, {first.name} is in {others}", remedy)
        _require(made == commit, f"{file}: commit {made[:10]}, {first.name} is of {commit[:10]}", remedy)
        differing = {table.name for table in tables} ^ {table.name for table in _tables(first)}
        _require(not differing, f"{name}: {min(differing, default='')} is not in all seeds", remedy)
        _require(bool(tables), f"{name}: no tables (*.csv) in it", remedy)
        # run.json is of the chapter that ran last: a table from before the commit is of another one.
        committed = float(git(root, "show", "--no-patch", "--format=%ct", commit) or "nan")
        for table in tables:
            problem = f"{name}/{table.name}: older than the commit, {commit[:10]}"
            _require(not table.stat().st_mtime < committed, problem, remedy)
    return commit


def _check_chapters(
    root: Path, profile: str, chapters: list[Path], seeds: list[Path], digest: str, commit: str
) -> int | None:
    """The seed that all the chapters show."""
    remedy, shown = _sweep(profile), None
    numbers = [seed.name.removeprefix("seed-") for seed in seeds]
    for chapter in chapters:
        name = chapter.relative_to(root)
        _require(chapter.is_file(), f"{name}: missing, and _toc.yml names it", remedy)
        text = chapter.read_text(encoding="utf-8")
        run = executed_run(root, text)
        problem = f"{name}: executed for profile {run.profile.name}, not {profile} as it is now"
        _require((run.profile.name, run.profile.digest) == (profile, digest), problem, remedy)
        shown = run.seed if shown is None else shown
        wanted = shown if str(shown) in numbers else f"one of {', '.join(sorted(numbers))}"
        problem = f"{name}: executed for seed {run.seed}, not {wanted}"
        _require(str(run.seed) in numbers and run.seed == shown, problem, remedy)
        for maker, changed in re.findall(r"Made by commit (\w+)(, changed since)?", text):
            problem = f"{name}: made by commit {maker}{changed}, the tables by {commit[:10]}"
            _require(commit.startswith(maker) and not changed, problem, remedy)
        problem = f"{name}: shows results published earlier beside its own"
        _require('class=\\"published\\"' not in text, problem, f"remove {FOLDER / profile}, commit, {remedy}")
        problem = f"{name}: names {root.resolve()}, a folder of this machine"
        _require(str(root.resolve()) not in text, problem, "name no absolute path there")
    return shown


def _require(condition: bool, problem: str, remedy: str) -> None:
    if not condition:
        raise ValueError(f"{problem}; {remedy}")


def _sweep(profile: str) -> str:
    return f"make sweep PROFILE={profile} SNAKEMAKE_ARGS=--forceall at one commit"


def executed_run(root: Path, notebook: str) -> config.Run:
    """The run that an executed notebook shows."""
    values = parameters(notebook)
    return config.make_run(values.pop("profile", ""), values.pop("seed", 0), values, root)


def parameters(notebook: str) -> dict[str, Any]:
    """The parameters that papermill gave an executed notebook; empty where it gave none."""
    for cell in nbformat.reads(notebook, as_version=4).cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            assignments = [line for line in ast.parse(cell.source).body if isinstance(line, ast.Assign)]
            return {ast.unparse(line.targets[0]): ast.literal_eval(line.value) for line in assignments}
    return {}


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m study.commands.publish", description=__doc__)
    parser.add_argument("profile", help="the profile's name, such as evening")
    profile = parser.parse_args().profile
    edition = publish_edition(config.find_root(), profile)
    sizes = {path: path.stat().st_size / 1e6 for path in edition.rglob("*") if path.is_file()}
    largest = max(sizes, key=lambda path: sizes[path])
    print(f"{len(sizes)} files, {sum(sizes.values()):.1f} MB; the largest is {largest.name}, {sizes[largest]:.1f} MB")


if __name__ == "__main__":
    sys.exit(main())
