"""Add seeds to the published edition of a profile, one after the other, on any day and machine: `make release`.

Seeds of one edition are of one commit and in one precision: those of the seeds that are published, else this checkout's
and this machine's. They are computed in a worktree of the commit under _release/, by its own code, and what is half
done there is taken up. After each seed the edition
is whole: its tables, and the chapters of the last one over all.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ifcore import io
from study import config
from study.commands.error_lines import call, one_line_errors
from study.commands.publish import replaced
from study.pipeline.base_model import native_precision
from study.report.provenance import git
from study.report.published import FOLDER

WORK = "_release"  # below the root
PINNED = ("requirements.txt", "pyproject.toml")


def release(root: Path, profile: str, seeds: Sequence[int], compute: Callable[[Path, str, int], None]) -> Path:
    """Have the seeds that are not published yet computed and published in a worktree, and copied here; the edition.

    `compute(worktree, profile, seed)` leaves the edition in the worktree. Raises ValueError, in one line, for a
    checkout with changes where an edition begins, and RuntimeError where a seed does not join the others.
    """
    edition = root / FOLDER / profile
    published = sorted(edition.glob("seed-*"))
    commit = io.read_json(published[0] / "run.json").get("commit", "") if published else _clean_commit(root, profile)
    work = _worktree(root, commit)
    for folder in published:
        shutil.copytree(folder, work / "results" / profile / folder.name, dirs_exist_ok=True)
    for seed in seeds:
        if (edition / f"seed-{seed}").is_dir():
            print(f"seed {seed}: published already")
            continue
        print(f"seed {seed}: computing at commit {commit[:10]}", flush=True)
        compute(work, profile, seed)
        with replaced(edition) as draft:
            shutil.copytree(work / FOLDER / profile, draft)
        print(f"seed {seed}: published; commit {FOLDER / profile}", flush=True)
    return edition


def sweep(work: Path, profile: str, seed: int) -> None:
    """Compute and publish a seed in a worktree, by the code and the profile of its commit, and in this environment if
    the commit asks for the same."""
    root, python = config.find_root(), work / ".venv" / "bin" / "python"
    make = ["make", "--no-print-directory", "sweep", f"PROFILE={profile}", f"SEEDS={seed}", f"SEED={seed}"]
    if precision := _precision(root / FOLDER / profile):
        make.append(f"PRECISION={precision}")
    if all(filecmp.cmp(root / name, work / name, shallow=False) for name in PINNED):
        environment, python = Path(sys.prefix), Path(sys.executable)
        make += [f"VENV={environment}", f"SETUP={environment / '.ready'}", *(f"--old-file={name}" for name in PINNED)]
    publish = [str(python), "-m", "study.commands.publish", profile]
    for command in (make, publish):
        if subprocess.run(command, cwd=work, env=os.environ | {"PYTHONPATH": str(work)}).returncode:
            raise RuntimeError(f"seed {seed}: not finished; the same command goes on from here")


def _precision(edition: Path) -> str:
    """That of the edition's seeds, or nothing where it has none. ValueError where this machine is not made for it."""
    record = next(iter(sorted(edition.glob("seed-*/run.json"))), None)
    precision = io.read_json(record).get("precision", "") if record else ""
    if precision == "bfloat16" and native_precision() != precision:
        raise ValueError(f"{edition.name}: its seeds are in bfloat16; add others where the processor has it")
    return precision


def _clean_commit(root: Path, profile: str) -> str:
    """The commit that an edition begins with. ValueError where the checkout differs from it, or has none."""
    commit = git(root, "rev-parse", "HEAD")
    if not commit:
        raise ValueError(f"{root.name}: no Git checkout; an edition is of a commit")
    if git(root, "status", "--porcelain", "--", ":(top)", ":(exclude)results/published"):
        raise ValueError(f"PROFILE={profile}: an edition begins with a commit; commit the checkout's changes first")
    return commit


def _worktree(root: Path, commit: str) -> Path:
    """A checkout of the commit, without the editions that it has, whose values its pages would show."""
    work = root / WORK / commit[:10]
    if not (work / ".git").is_file():
        shutil.rmtree(work, ignore_errors=True)
        git(root, "worktree", "prune")
        add = ["git", "-C", str(root), "worktree", "add", "--detach", str(work), commit]
        call(add, f"commit {commit[:10]}: no worktree of it")
    for edition in {folder.parent for folder in (work / FOLDER).glob("*/seed-*")}:  # benchmarks stay
        shutil.rmtree(edition)
    return work


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m study.commands.release", description=__doc__)
    parser.add_argument("profile", help="the profile's name, such as laptop")
    parser.add_argument("seeds", type=int, nargs="+", help="such as 10 11 12")
    options = parser.parse_args()
    edition = release(config.find_root(), options.profile, options.seeds, sweep)
    names = ", ".join(sorted(folder.name.removeprefix("seed-") for folder in edition.glob("seed-*")))
    print(f"The edition: {os.path.relpath(edition)}, seeds {names}")


if __name__ == "__main__":
    sys.exit(main())
