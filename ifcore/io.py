"""Files that are there whole or not at all, and the hash that says whether one was altered."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from ifcore.sanitize import cell

if TYPE_CHECKING:  # a command that writes text need not wait for these
    import pandas as pd
    from torch import Tensor

SEAL = "sha256 of all else"


def write(path: Path, writer: Callable[[Path], object]) -> None:
    """Let `writer` write to a temporary name beside `path`, then rename: a reader never sees half a file.

    Raises OSError, in one line, where the disk is full; what was at `path` before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        with explain_disk_full(path):
            writer(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`text` at `path`, in UTF-8."""
    write(path, lambda target: target.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: object) -> None:
    """`value` at `path` as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """`frame` at `path`, without its index; text that a spreadsheet would compute has a ' before it."""
    text = {name: column.map(cell) for name, column in frame.items() if column.dtype.kind not in "biuf"}
    write_text(path, frame.assign(**text).to_csv(index=False))


def read_csv(path: Path) -> pd.DataFrame:
    """What `write_csv` left at `path`. Only what is empty is nothing: a class may be called NA, or None."""
    import pandas as pd  # takes a second

    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """`tensors` at `path` as safetensors."""
    from safetensors.torch import save_file  # takes a second

    write(path, lambda target: save_file({name: value.contiguous() for name, value in tensors.items()}, target))


def read_json(path: Path) -> dict:
    """The JSON object at `path`; empty where there is none or it can't be parsed."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}


def write_sealed(path: Path, value: dict) -> None:
    """`value` at `path` as JSON, with a hash of itself."""
    write_json(path, value | {SEAL: _seal(value)})


def read_sealed(path: Path) -> dict:
    """What `write_sealed` left at `path`; empty where there is nothing, or something else than was written.

    A file of an earlier version has no seal, and is taken as it is.
    """
    value = read_json(path)
    seal = value.pop(SEAL, None)
    return value if seal in (None, _seal(value)) else {}


def sha256(path: Path) -> str | None:
    """The file's SHA-256 in hex; None where there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _seal(value: dict) -> str:
    written = json.loads(json.dumps(value))  # a tuple comes back as a list
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


@contextmanager
def explain_disk_full(path: Path) -> Iterator[None]:
    """Turns the various errors of a full disk into one line with a remedy."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if "disk full" in str(error):  # said by an inner call, which knew the file
            raise
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            raise OSError(
                errno.ENOSPC, f"disk full while writing {path}; free some space and start again: it goes on from here"
            ) from error
        raise
