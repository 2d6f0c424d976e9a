"""One file with everything that a run left, for a data repository: what `make archive` calls.

Tables, figures and executed notebooks of every seed, adapters, the chapters of the book if they are the profile's, the
profile, what is installed, and a list of SHA-256 sums. Not gradients, hidden states and scores, which can be made again
from these.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

from tqdm import tqdm

from ifcore import io
from study.commands.publish import CHAPTERS, parameters
from study.config import find_root, make_run
from study.report.provenance import provenance

KEPT = {".csv", ".json", ".ipynb", ".png", ".svg"}  # of results/
ADAPTER = ("adapter_model.safetensors", "adapter_config.json")  # of artifacts/: PEFT's own format
MOMENT = (1980, 1, 1, 0, 0, 0)  # the same content is the same file


def archive(root: Path, profile: str) -> Path:
    """Write _build/<profile>.zip, its path.

    Raises ValueError, in one line, where there is nothing of the profile, and OSError where the disk is full.
    """
    run = make_run(profile, root=root)
    named = run.profile.name
    results, artifacts = root / "results" / named, root / "artifacts" / named
    found = [path for path in _files(results) if path.suffix in KEPT]
    if not found:
        raise ValueError(f"results/{named}: nothing in it; make book PROFILE={named} first")
    found += [path for path in _files(artifacts) if path.name in ADAPTER]
    found += [path for path in sorted((root / CHAPTERS).glob("*.ipynb")) if _is_of(root, path, run.profile.digest)]
    found += [root / "notebooks" / "profiles" / f"{named}.yaml"]
    found += [root / name for name in ("requirements.txt", "CITATION.cff", "LICENSE", "README.md")]
    target = root / "_build" / f"{named}.zip"
    need = sum(path.stat().st_size for path in found)
    target.parent.mkdir(exist_ok=True)
    if (room := shutil.disk_usage(target.parent).free) < need:
        raise OSError(f"{target.parent}: {room / 1e9:.2f} GB free, {need / 1e9:.2f} needed; make room")
    io.write(target, lambda draft: _write(draft, root, found))
    return target


def _is_of(root: Path, chapter: Path, digest: str) -> bool:
    given = parameters(chapter.read_text(encoding="utf-8"))
    try:
        return make_run(given.pop("profile", ""), given.pop("seed", 0), given, root).profile.digest == digest
    except ValueError:  # of a profile that is there no more
        return False


def _write(draft: Path, root: Path, found: list[Path]) -> None:
    sums = []
    about = provenance(root) | {"installed": sorted({f"{each.name}=={each.version}" for each in distributions()})}
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as zipped:

        def add(name: str, content: bytes) -> None:
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            zipped.writestr(entry, content)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")

        for path in tqdm(found, desc="archive", unit="file"):
            add(path.relative_to(root).as_posix(), path.read_bytes())
        add("archived-with.json", json.dumps(about, indent=2).encode())
        add("SHA256SUMS", "".join(sums).encode())


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def main() -> int:
    """The command line; errors are one line and a non-zero exit code."""
    parser = argparse.ArgumentParser(prog="python -m study.commands.archive", description=__doc__.splitlines()[0])
    parser.add_argument("profile", help="the name of a profile that has run")
    given = parser.parse_args()
    try:
        target = archive(find_root(), given.profile)
        print(f"The archive: {target} ({target.stat().st_size / 1e6:.1f} MB)")
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
