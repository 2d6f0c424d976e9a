"""One step of an artifact's making, and the record by which a stale, half-written or altered one is recognised."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

from ifcore import io
from study.pipeline.code_fingerprint import fingerprint
from study.pipeline.events import emit


class Stage:
    """One step of an artifact's making: its key, and the record of what it left.

    `folders` are those that it fills beside the files it names; made anew, it starts without them.
    """

    def __init__(self, folder: Path, name: str, key: dict[str, Any], folders: Sequence[Path] = ()):
        self.folder, self.name, self.key, self.folders = folder, name, key, folders
        self.record: dict[str, Any] = io.read_sealed(self._path)

    def make(self, build: Callable[[], list[Path]], made_by: Callable | None = None) -> Stage:
        """Run `build`, which returns the files it leaves, unless they are all there under this key.

        The code of `made_by`, which is `build` itself by default, belongs to the key.
        """
        key = self.key | {"code": fingerprint(made_by or build)}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        if self.record.get("done") and self.record["digest"] == digest and all(map(self.has, self._kept())):
            self._tell("found")
            return self
        if self.record.get("digest") != digest or self.record.get("done"):
            self._restart(key, digest)
        self._tell("begun")
        self._sweep()
        start = perf_counter()
        for path in build():
            self.keep(path)
        self.record |= {"done": True, "seconds": round(self.record["seconds"] + perf_counter() - start, 3)}
        self._save()
        self._tell("made")
        return self

    def has(self, path: Path) -> bool:
        """Whether `path` is there as this stage wrote it."""
        sum_ = self.record["files"].get(str(path.relative_to(self.folder)))
        return sum_ is not None and io.sha256(path) == sum_

    def keep(self, path: Path) -> None:
        """Note `path` as finished, so that a run that goes on after a kill need not make it again."""
        self.record["files"][str(path.relative_to(self.folder))] = io.sha256(path)
        self._save()

    def _restart(self, key: dict[str, Any], digest: str) -> None:
        for path in self._kept():
            path.unlink(missing_ok=True)
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
        self.record = {"digest": digest, "key": key, "files": {}, "done": False, "seconds": 0.0}
        self._save()

    def _sweep(self) -> None:
        """Remove what a killed run was writing, which nothing reads: whoever makes is alone in the folder."""
        for folder in (self.folder, *self.folders):
            for left in folder.glob(".[0-9]*-*"):  # as `io.write` names what is unfinished
                left.unlink(missing_ok=True)
        for left in self.folder.glob("tmp*"):  # as `tempfile` names gradients kept no longer than it takes
            shutil.rmtree(left, ignore_errors=True)

    def _tell(self, state: str) -> None:
        emit("stage", folder=str(self.folder), stage=self.name, state=state)

    def _kept(self) -> list[Path]:
        return [self.folder / name for name in self.record.get("files", {})]

    def _save(self) -> None:
        io.write_sealed(self._path, self.record)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.name}.json"


def digest_in(folder: Path, name: str) -> str:
    """The digest under which an earlier stage was made."""
    return io.read_json(folder / f"{name}.json")["digest"]


def frame(folder: Path, name: str, key: dict[str, Any], build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
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
    """Alone in an artifact's folder, and a full disk told in one line."""
    folder.mkdir(parents=True, exist_ok=True)
    with locked_file(folder), io.explain_disk_full(folder):
        yield


def locked_file(folder: Path) -> FileLock:
    """The folder's lock; says so when another process has it, then waits."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder.name}: another run is computing it; waiting for that one", file=sys.stderr)
    else:
        lock.release()
    return lock
