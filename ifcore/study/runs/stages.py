"""One step of an artifact's making, and the record by which a stale, half-written or altered one is recognised."""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
from filelock import FileLock, Timeout

import ifcore
from ifcore.study import files


class Stage:
    """One step of an artifact's making: its key, and the record of what it left."""

    def __init__(self, folder: Path, name: str, key: dict[str, Any]):
        self.folder, self.name, self.key = folder, name, key
        self.digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self.record: dict[str, Any] = files.read_json(self._path)

    @staticmethod
    def digest_in(folder: Path, name: str) -> str:
        """The digest under which an earlier stage was made."""
        return files.read_json(folder / f"{name}.json")["digest"]

    def make(self, build: Callable[[], list[Path]]) -> Stage:
        """Run `build`, which returns the files it leaves, unless they are all there under this key."""
        if self.record.get("done") and self.record["digest"] == self.digest and all(map(self.has, self._kept())):
            return self
        if self.record.get("digest") != self.digest or self.record.get("done"):
            self._restart()
        start = perf_counter()
        for path in build():
            self.keep(path)
        self.record |= {"done": True, "seconds": round(self.record["seconds"] + perf_counter() - start, 3)}
        self._save()
        return self

    def has(self, path: Path) -> bool:
        """Whether `path` is there as this stage wrote it."""
        sum_ = self.record["files"].get(str(path.relative_to(self.folder)))
        return sum_ is not None and files.sha256(path) == sum_

    def keep(self, path: Path) -> None:
        """Note `path` as finished, so that a run that goes on after a kill need not make it again."""
        self.record["files"][str(path.relative_to(self.folder))] = files.sha256(path)
        self._save()

    def _restart(self) -> None:
        for path in self._kept():
            path.unlink(missing_ok=True)
        if self.name == "fine-tune":
            shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)
        self.record = {"digest": self.digest, "key": self.key, "files": {}, "done": False, "seconds": 0.0}
        self._save()

    def _kept(self) -> list[Path]:
        return [self.folder / name for name in self.record.get("files", {})]

    def _save(self) -> None:
        files.write_json(self._path, self.record)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.name}.json"


def frame(folder: Path, name: str, key: dict[str, Any], build: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The table that `build` makes under this key, kept in `folder` as CSV: computed once, by one process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.csv"

    def write() -> list[Path]:
        files.write_csv(path, build())
        return [path]

    with alone(folder), files.room(folder):
        Stage(folder, name, key).make(write)
        return pd.read_csv(path)


def alone(folder: Path) -> FileLock:
    """The folder's lock; says so when another process has it, then waits."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{folder.name}: another run is computing it; waiting for that one", file=sys.stderr)
    else:
        lock.release()
    return lock


@functools.cache
def code(*modules: str) -> str:
    """Hash of what some files of ifcore do: their syntax trees without docstrings, so prose may change freely."""
    engine = Path(ifcore.__file__).parent
    trees = [ast.parse((engine / f"{module}.py").read_text(encoding="utf-8")) for module in modules]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256("".join(map(ast.dump, trees)).encode()).hexdigest()


_DOCUMENTED = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
