"""Publish a finished sweep: its tables and the book that shows them, under results/published/.

Publishes what `make sweep` left: the tables of every seed of a profile with their run.json, and the executed notebooks
of the book. All must be of one commit, unchanged, and of the profile as it is now. Run it before anything else is
built, from the checkout that made the sweep.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat

from ifcore import io
from study import config
from study.report.provenance import git
from study.report.published import FOLDER, SCORECARD
from study.site.links import FOLDER as FILES
from study.site.links import linked

CHAPTERS = Path("book", "executed")


def release(root: Path, profile: str) -> Path:
    """Copy results/<profile>/seed-*/ (CSV, run.json) and book/executed/ to results/published/<profile>/, its path.

    The scorecard is of all seeds, and stands beside them.

    What was published of this profile before is replaced, as a whole. Raises ValueError, in one line, for seeds made by
    a changed checkout, by several commits, from another state of the profile, with unequal tables, or some older
    than the commit; and for chapters that are missing, of another profile, seed or commit, that show published results
    beside their own, or that name the folder they were made in.
    """
    digest = config.make_run(profile, root=root).profile.digest
    seeds = sorted((root / "results" / profile).glob("seed-*"))
    commit = _check_seeds(root, profile, seeds, digest)
    chapters = [root / CHAPTERS / f"{name}.ipynb" for name in named_chapters(root)]
    named = {seed.name.removeprefix("seed-") for seed in seeds}
    shown = _check_chapters(root, profile, chapters, named, digest, commit)
    scorecard = root / "results" / profile / f"seed-{shown}" / SCORECARD
    target = root / FOLDER / profile
    fresh, stale = (root / "results" / f".{os.getpid()}-{what}-{profile}" for what in ("new", "old"))
    try:
        for seed in seeds:
            for file in (*_tables(seed), seed / "run.json"):
                (fresh / seed.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(file, fresh / seed.name)
        if scorecard.is_file():
            shutil.copy(scorecard, fresh)
        (fresh / "book").mkdir()
        for chapter in chapters:
            shutil.copy(chapter, fresh / "book")
            for name in linked(chapter.read_text(encoding="utf-8")):
                (fresh / "book" / FILES).mkdir(exist_ok=True)
                shutil.copy(chapter.parent / FILES / name, fresh / "book" / FILES)
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            target.rename(stale)
        fresh.rename(target)
    finally:
        if stale.exists() and not target.exists():
            stale.rename(target)
        for folder in (fresh, stale):
            shutil.rmtree(folder, ignore_errors=True)
    return target


def named_chapters(root: Path) -> list[str]:
    """The computed chapters that the table of contents names, in its order."""
    return re.findall(r"book/executed/(\w+)", (root / "_toc.yml").read_text(encoding="utf-8"))


def _tables(seed: Path) -> list[Path]:
    """Those that every seed has."""
    return [table for table in sorted(seed.glob("*.csv")) if table.name != SCORECARD]


def _check_seeds(root: Path, profile: str, seeds: list[Path], digest: str) -> str:
    """The commit that made all the seeds."""
    if not seeds:
        raise ValueError(f"results/{profile}: no seed-* in it; make sweep PROFILE={profile} first")
    again = _again(profile) + ", or move away what is no part"
    first = None
    for seed in seeds:
        about, name = io.read_json(seed / "run.json"), seed.relative_to(root)
        if missing := [key for key in ("commit", "versions", "machine", "digest") if not about.get(key)]:
            raise ValueError(f"{name}/run.json: no {missing[0]}; {again}")
        if about.get("dirty", True):
            changed = f"made by a changed checkout of {about['commit'][:10]}"
            raise ValueError(f"{name}/run.json: {changed}; commit, then {again}")
        if about["digest"] != digest:
            raise ValueError(f"{name}/run.json: digest {about['digest']}, the profile's is {digest} now; {again}")
        first = first or (seed, about["commit"])
        if about["commit"] != first[1]:
            raise ValueError(
                f"{name}/run.json: commit {about['commit'][:10]}, {first[0].name} is of {first[1][:10]}; {again}"
            )
        here, there = ({table.name for table in _tables(each)} for each in (seed, first[0]))
        if here != there:
            raise ValueError(f"{name}: {min(here ^ there)} is not in all seeds; {again}")
        if not here:
            raise ValueError(f"{name}: no tables (*.csv) in it; {again}")
        # run.json is of the chapter that ran last: a table from before the commit is of another one.
        born = float(git(root, "show", "--no-patch", "--format=%ct", about["commit"]) or "nan")
        if early := [table.name for table in _tables(seed) if table.stat().st_mtime < born]:
            raise ValueError(f"{name}/{early[0]}: older than the commit, {about['commit'][:10]}; {again}")
    return first[1]


def _check_chapters(
    root: Path, profile: str, chapters: list[Path], seeds: set[str], digest: str, commit: str
) -> int | None:
    """The seed that all the chapters show."""
    again = _again(profile)
    shown = None
    for chapter in chapters:
        name = chapter.relative_to(root)
        if not chapter.is_file():
            raise ValueError(f"{name}: missing, and _toc.yml names it; {again}")
        text = chapter.read_text(encoding="utf-8")
        given = parameters(text)
        run = config.make_run(given.pop("profile", ""), given.pop("seed", 0), given, root)
        if (run.profile.name, run.profile.digest) != (profile, digest):
            raise ValueError(f"{name}: executed for profile {run.profile.name}, not {profile} as it is now; {again}")
        shown = run.seed if shown is None else shown
        if str(run.seed) not in seeds or run.seed != shown:
            wanted = shown if str(shown) in seeds else f"one of {', '.join(sorted(seeds))}"
            raise ValueError(f"{name}: executed for seed {run.seed}, not {wanted}; {again}")
        for made in re.findall(r"Made by commit (\w+)(, changed since)?", text):
            if not commit.startswith(made[0]) or made[1]:
                raise ValueError(f"{name}: made by commit {''.join(made)}, the tables by {commit[:10]}; {again}")
        if 'class=\\"published\\"' in text:
            old = f"remove {FOLDER / profile}, commit, {again}"
            raise ValueError(f"{name}: shows results published earlier beside its own; {old}")
        if str(root.resolve()) in text:
            raise ValueError(f"{name}: names {root.resolve()}, a folder of this machine; name no absolute path there")
    return shown


def _again(profile: str) -> str:
    return f"make sweep PROFILE={profile} SNAKEMAKE_ARGS=--forceall at one commit"


def parameters(notebook: str) -> dict:
    """What papermill gave an executed notebook; empty where it gave nothing."""
    for cell in nbformat.reads(notebook, as_version=4).cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            bound = [each for each in ast.parse(cell.source).body if isinstance(each, ast.Assign)]
            return {each.targets[0].id: ast.literal_eval(each.value) for each in bound}
    return {}


def main() -> int:
    """The command line; errors are one line and a non-zero exit code."""
    parser = argparse.ArgumentParser(prog="python -m study.commands.publish", description=__doc__)
    parser.add_argument("profile", help="the profile's name, such as evening")
    given = parser.parse_args()
    try:
        target = release(config.find_root(), given.profile)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    sizes = {path: path.stat().st_size / 1e6 for path in target.rglob("*") if path.is_file()}
    largest = max(sizes, key=sizes.get)
    print(f"{len(sizes)} files, {sum(sizes.values()):.1f} MB; the largest is {largest.name}, {sizes[largest]:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
