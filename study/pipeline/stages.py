"""A stage: one step of an artifact's making, with a record by which a stale, half-written or altered one is known."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from ifcore import io
from study.pipeline.code_fingerprint import fingerprint

SECONDS: dict[str, float] = {}  # a stage's record -> how long it took, of those made or found in this process


class Stage:
    """One step: its key, and the record of the files that it left.

    `folders`: which it fills beside the files it names; they are deleted before it is made anew. `temporary`: which a
    killed one goes on from; they are deleted once the record is written.
    """

    def __init__(
        self, folder: Path, name: str, key: dict[str, Any], folders: Sequence[Path] = (), temporary: Sequence[Path] = ()
    ):
        self.folder, self.name, self.key, self.folders, self.temporary = folder, name, key, folders, temporary
        self._path = folder / f"{name}.json"
        self.record: dict[str, Any] = io.read_sealed(self._path)

    def make(self, build: Callable[[], list[Path]], made_by: Callable | None = None) -> Stage:
        """Run `build`, which returns the files it leaves, unless they are all there under this key.

        The code of `made_by`, which is `build` itself by default, belongs to the key.
        """
        key, digest = full_key(self.key, made_by or build)
        made = self.record.get("digest") == digest and self.record.get("done")
        if made and all(io.sha256(self.folder / name) == known for name, known in self.record["files"].items()):
            SECONDS[str(self._path)] = self.record["seconds"]
            return self
        if made or self.record.get("digest") != digest:
            self._restart(key, digest)
        self._sweep()
        start = perf_counter()
        files = {str(path.relative_to(self.folder)): io.sha256(path) for path in build()}
        seconds = round(self.record["seconds"] + perf_counter() - start, 3)
        self.record |= {"files": files, "done": True, "seconds": seconds}
        SECONDS[str(self._path)] = seconds
        io.write_sealed(self._path, self.record)
        for folder in self.temporary:
            shutil.rmtree(folder, ignore_errors=True)
        return self

    def _restart(self, key: dict[str, Any], digest: str) -> None:
        for name in self.record.get("files", {}):
            (self.folder / name).unlink(missing_ok=True)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
        self.record = {"digest": digest, "key": key, "files": {}, "done": False, "seconds": 0.0}
        io.write_sealed(self._path, self.record)

    def _sweep(self) -> None:
        """Remove what a killed run was writing, which nothing reads: whoever makes is alone in the folder."""
        for folder in (self.folder, *self.folders):
            for file in folder.glob(".[0-9]*-*"):  # as `io.write` names what is unfinished
                file.unlink(missing_ok=True)
        for scratch in self.folder.glob("tmp*"):  # as `tempfile` names the folders of temporary gradients
            shutil.rmtree(scratch, ignore_errors=True)


def newest() -> datetime | None:
    """When the newest stage was made of those that this process made or found; None before the first."""
    times = [Path(record).stat().st_mtime for record in SECONDS if Path(record).is_file()]
    return datetime.fromtimestamp(max(times), UTC) if times else None


def full_key(key: Mapping[str, Any], build: Callable) -> tuple[dict[str, Any], str]:
    """A stage's key with the fingerprint of the code that builds it, and the digest of both; nothing is made."""
    complete = {**key, "code": fingerprint(build)}
    return complete, hashlib.sha256(json.dumps(complete, sort_keys=True).encode()).hexdigest()


def recorded_digest(folder: Path, name: str) -> str:
    """The digest under which an earlier stage was made."""
    return io.read_json(folder / f"{name}.json")["digest"]


def cached_frame(folder: Path, name: str, key: dict[str, Any], build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table that `build` makes under this key, kept in `folder` as CSV: computed once, by one process at a time."""
    path = folder / f"{name}.csv"

    def write() -> list[Path]:
        io.write_csv(path, build())
        return [path]

    with locked_folder(folder):
        Stage(folder, name, key).make(write, made_by=build)
        return io.read_csv(path)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """`with locked_folder(…)`: no other process is in the folder; a full disk is explained in one line."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder.name}: another run is computing it; waiting for that one", file=sys.stderr)
        held = lock.acquire()
    with held, io.explain_disk_full(folder):
        yield
