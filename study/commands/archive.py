"""Pack all that a run left into one file for a data repository: what `make archive` calls.

Tables, figures and executed notebooks of every seed, adapters, the book's chapters if they are of this profile, the
profile, the installed versions, and a list of SHA-256 sums. Not gradients, hidden states and scores, which can be made
again from these.
"""

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
from study.commands.contents import EXECUTED
from study.commands.error_lines import one_line_errors
from study.commands.publish import executed_run
from study.config import find_root, make_run
from study.report.provenance import provenance

SUFFIXES = {".csv", ".json", ".ipynb", ".png", ".svg"}  # of what is packed from results/
ADAPTER = ("adapter_model.safetensors", "adapter_config.json")  # of artifacts/: PEFT's own format
MOMENT = (1980, 1, 1, 0, 0, 0)  # the same content is the same file


def archive(root: Path, profile: str) -> Path:
    """Write _build/<profile>.zip, its path."""
    run = make_run(profile, root=root)
    name = run.profile.name
    files = sorted(path for path in (root / "results" / name).rglob("*") if path.suffix in SUFFIXES)
    if not files:
        raise ValueError(f"results/{name}: nothing in it; make book PROFILE={name} first")
    files += sorted(path for path in (root / "artifacts" / name).rglob("*") if path.name in ADAPTER)
    files += [path for path in sorted((root / EXECUTED).glob("*.ipynb")) if _is_of(root, path, run.profile.digest)]
    files += [root / "notebooks" / "profiles" / f"{name}.yaml"]
    files += [root / file for file in ("requirements.txt", "CITATION.cff", "LICENSE", "README.md")]
    target = root / "_build" / f"{name}.zip"
    needed = sum(path.stat().st_size for path in files)
    target.parent.mkdir(exist_ok=True)
    if (free := shutil.disk_usage(target.parent).free) < needed:
        raise OSError(f"{target.parent}: {free / 1e9:.2f} GB free, {needed / 1e9:.2f} needed; free some space")
    io.write(target, lambda draft: _write(draft, root, files))
    return target


def _is_of(root: Path, chapter: Path, digest: str) -> bool:
    try:
        return executed_run(root, chapter.read_text(encoding="utf-8")).profile.digest == digest
    except ValueError:  # of a profile that no longer exists
        return False


def _write(draft: Path, root: Path, files: list[Path]) -> None:
    sums = []
    installed = sorted({f"{package.name}=={package.version}" for package in distributions()})
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as zipped:

        def add(name: str, content: bytes) -> None:
            entry = zipfile.ZipInfo(name, MOMENT)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            zipped.writestr(entry, content)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")

        for path in tqdm(files, desc="archive", unit="file"):
            add(path.relative_to(root).as_posix(), path.read_bytes())
        add("archived-with.json", json.dumps(provenance(root) | {"installed": installed}, indent=2).encode())
        add("SHA256SUMS", "".join(sums).encode())


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m study.commands.archive", description=__doc__.splitlines()[0])
    parser.add_argument("profile", help="the name of a profile that has run")
    profile = parser.parse_args().profile
    target = archive(find_root(), profile)
    print(f"The archive: {target} ({target.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    sys.exit(main())
