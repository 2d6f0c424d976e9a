"""Checkouts to be broken, builds to be killed, and a count of what was done to them."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pandas as pd
import psutil
import pytest

from ifcore import io
from study.commands.verify import MACHINE
from tests.book.conftest import check_out

COUNTS = Counter()
MARK = "TORTURE"  # in the environment of all that a build starts, by which its family is known
LIMIT = 600  # seconds for any build: a longer one hangs on something


def pytest_terminal_summary(terminalreporter):
    if COUNTS:
        told = ", ".join(f"{count} {what}" for what, count in sorted(COUNTS.items()))
        terminalreporter.write_line(f"tortured: {told}")


class Build:
    """A make, or another command, and all that it starts: in a session of its own, as on a terminal."""

    def __init__(self, folder: Path, command: list[str], home: Path, **more: str):
        self.mark, self.folder = uuid4().hex, folder
        outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH", "SNAKEMAKE_PROFILE")
        environment = {name: value for name, value in os.environ.items() if name not in outer}
        bin_ = str(Path(sys.prefix) / "bin")
        environment |= {MARK: self.mark, "HOME": str(home), "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        environment |= {"PATH": f"{bin_}:{os.environ['PATH']}", **more}
        self._printed = tempfile.TemporaryFile()  # a pipe that nobody reads would stop it
        streams = {"stdin": subprocess.DEVNULL, "stdout": self._printed, "stderr": subprocess.STDOUT}
        heard = {"preexec_fn": hearing, "start_new_session": True}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, **streams, **heard)

    @property
    def said(self) -> str:
        """What it has printed so far."""
        size = os.fstat(self._printed.fileno()).st_size
        return os.pread(self._printed.fileno(), size, 0).decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """The same without what make says of itself."""
        return [line for line in self.said.splitlines() if not line.startswith("make: ")]

    def family(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def commands(self) -> list[str]:
        """What its family are, of those that live."""
        found = []
        for process in self.family():
            with suppress(psutil.Error, OSError):
                found.append(" ".join(process.cmdline()))
        return [each for each in found if each]

    def kill(self) -> bool:
        """-9 to the whole family at one moment, so that none acts on the end of another; whether it was at work."""
        stopped: set[int] = set()
        while new := [each for each in self.family() if each.pid not in stopped]:
            for each in new:
                with suppress(psutil.Error):
                    each.suspend()
                stopped.add(each.pid)
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(LIMIT)
        while self.family():
            time.sleep(0.02)
        return bool(stopped) and self.process.returncode != 0

    def until(self, reached, limit: float = LIMIT) -> bool:
        """Wait until `reached()`; False where the build ends before."""
        deadline = time.monotonic() + limit
        while not reached():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"nothing came of it in {limit} s:\n{self.said[-3000:]}"
            time.sleep(0.01)
        return True

    def ended(self, limit: float = LIMIT) -> int:
        """Its exit code, at the end."""
        try:
            self.until(lambda: False, limit)
        except AssertionError:
            self.kill()
            raise
        return self.process.returncode


def hearing() -> None:
    """What runs in the background, or under nohup, is born deaf."""
    for each in (signal.SIGINT, signal.SIGHUP):
        signal.signal(each, signal.SIG_DFL)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """In the place of the user's, for what kernels leave that are killed."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def start(home):
    """Starts a make, start(folder, "run", "NB=facts") -> Build, which doesn't outlive the test; `command`: another."""
    begun = []

    def start(folder: Path, *arguments: str, command: tuple[str, ...] = (), before: tuple[str, ...] = (), **more: str):
        given = {"PROFILE": "smoke"} | dict(each.split("=", 1) for each in arguments if "=" in each)
        targets = [each for each in arguments if "=" not in each]
        made = ["make", *targets, f"VENV={sys.prefix}", "SETUP="]
        made += [f"{name}={value}" for name, value in {"SNAKEMAKE_ARGS": "--cores 2", **given}.items()]
        begun.append(Build(folder, [*before, *(command or made)], home, **more))
        return begun[-1]

    yield start
    for build in begun:
        build.kill()


@pytest.fixture
def make(start):
    """Runs a make to its end: make(folder, "run", "NB=facts") -> Build."""

    def make(folder: Path, *arguments: str, **more):
        build = start(folder, *arguments, **more)
        build.ended()
        return build

    return make


@pytest.fixture(scope="session")
def intact(tmp_path_factory, home):
    """The smoke book, built without any disturbance. Nothing may change it.

    To try a test again, $TORTURE_INTACT may name a checkout where it was built before.
    """
    if kept := os.environ.get("TORTURE_INTACT"):
        return Path(kept)
    folder = tmp_path_factory.mktemp("intact") / "book"
    check_out(folder)
    command = ["make", "book", f"VENV={sys.prefix}", "SETUP=", "PROFILE=smoke", "SNAKEMAKE_ARGS=--cores 2"]
    build = Build(folder, command, home)
    assert build.ended() == 0, build.said[-5000:]
    return folder


@pytest.fixture
def fresh(tmp_path):
    """A new checkout, in which nothing was made yet."""
    check_out(tmp_path / "book")
    return tmp_path / "book"


@pytest.fixture
def copy(intact, tmp_path):
    """The built book again, to be damaged; its files are as old as they were."""
    shutil.copytree(intact, tmp_path / "book", symlinks=True)
    return tmp_path / "book"


def tables(folder: Path, profile: str = "smoke", seed: int = 0) -> dict[str, pd.DataFrame]:
    """Name -> the table that a run left, without what the clock decides."""
    found = {}
    for file in sorted((folder / "results" / profile / f"seed-{seed}").glob("*.csv")):
        frame = pd.read_csv(file)
        timed = frame.metric.str.contains(MACHINE) if "metric" in frame else pd.Series(False, frame.index)
        timed |= frame.claim.str.startswith("cost_") if "claim" in frame else False
        kept = [name for name in frame if not MACHINE.search(name)]
        found[file.stem] = frame.loc[~timed, kept].reset_index(drop=True)
    return found


def assert_same_tables(folder: Path, intact: Path, every: bool = True) -> None:
    """Value for value, to the bit; of those that are there, where not `every` chapter was built."""
    found, expected = tables(folder), tables(intact)
    assert found and found.keys() <= expected.keys()
    assert not every or found.keys() == expected.keys(), f"missing: {expected.keys() - found.keys()}"
    for name, frame in found.items():
        pd.testing.assert_frame_equal(frame, expected[name], check_exact=True, obj=name)


def done(folder: Path) -> dict[Path, int]:
    """What is made for good: records of finished steps, and epochs that a fine-tune goes on from; with their times."""
    found = [path for path in (folder / "artifacts").rglob("*.json") if io.read_json(path).get("done")]
    for state in (folder / "artifacts").rglob("unfinished/epoch-*/*.safetensors"):
        if len(state.stem) == 64:  # named by its hash, as it is once it is whole
            found.append(state.parents[2] / state.parent.name / "adapter_model.safetensors")
    return {path: path.stat().st_mtime_ns for path in found}


def left_over(folder: Path) -> list[Path]:
    """What was being written when something was killed."""
    return [path for path in (folder / "artifacts").rglob(".[0-9]*-*")] + list((folder / "artifacts").rglob("tmp*"))


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Change one bit of one byte; the file's times stay, as on a failing disk."""
    times, content = path.stat(), bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    COUNTS["bytes flipped"] += 1


def may(*command: str) -> bool:
    """Whether this machine lets us."""
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small(tmp_path_factory):
    """A disk of so many KiB: small(kib) -> its folder, and small.grow(folder, kib) gives it more room."""
    mounted = []

    def mount(kib: int) -> Path:
        folder = tmp_path_factory.mktemp("disk")
        if not may("mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(folder)):
            pytest.skip("a small disk takes the right to mount one, as root has it")
        mounted.append(folder)
        return folder

    def grow(folder: Path, kib: int) -> None:
        assert may("mount", "-o", f"remount,size={kib}k", str(folder))

    mount.grow = grow
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def frozen():
    """Makes a folder one that nobody can write to, root included: frozen(folder), and frozen.thaw(folder) undoes it."""
    mounted = []

    def freeze(folder: Path) -> None:
        if not may("mount", "--bind", str(folder), str(folder)):
            pytest.skip("a folder that root can't write to takes the right to mount")
        mounted.append(folder)
        assert may("mount", "-o", "remount,ro,bind", str(folder))

    def thaw(folder: Path) -> None:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        mounted.remove(folder)

    freeze.thaw = thaw
    yield freeze
    for folder in list(mounted):
        thaw(folder)


def without_network() -> list[str]:
    """What comes before a command to run it in a network of nothing but itself; skips where that isn't allowed."""
    if not may("unshare", "--net", "true"):
        pytest.skip("cutting the network takes the right to unshare it, as root has it")
    return ["unshare", "--net", sys.executable, "-c", LOOPBACK]


# Kernels are spoken to over 127.0.0.1, which in a new network is down. SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP.
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lo:
    flags = struct.unpack("16sH", fcntl.ioctl(lo, 0x8913, struct.pack("16sH", b"lo", 0))[:18])[1]
    fcntl.ioctl(lo, 0x8914, struct.pack("16sH", b"lo", flags | 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""
