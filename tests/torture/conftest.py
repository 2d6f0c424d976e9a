"""Checkouts to damage, builds to kill, and a count of the damage done."""

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
MARK = "TORTURE"  # in the environment of all processes that a build starts, which identifies its family
LIMIT = 600  # seconds for any build: a longer one hangs


def pytest_terminal_summary(terminalreporter):
    if COUNTS:
        summary = ", ".join(f"{count} {what}" for what, count in sorted(COUNTS.items()))
        terminalreporter.write_line(f"tortured: {summary}")


class Build:
    """A make or another command, and all that it starts, in its own session as on a terminal."""

    def __init__(self, folder: Path, command: list[str], home: Path, **more: str):
        self.mark, self.folder = uuid4().hex, folder
        outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONPATH", "SNAKEMAKE_PROFILE")
        environment = {name: value for name, value in os.environ.items() if name not in outer}
        bin_ = str(Path(sys.prefix) / "bin")
        environment |= {MARK: self.mark, "HOME": str(home), "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        environment |= {"PATH": f"{bin_}:{os.environ['PATH']}", **more}
        self._printed = tempfile.TemporaryFile()  # an unread pipe would block it
        streams = {"stdin": subprocess.DEVNULL, "stdout": self._printed, "stderr": subprocess.STDOUT}
        options = {"preexec_fn": restore_signals, "start_new_session": True}
        self.process = subprocess.Popen(command, cwd=folder, env=environment, **streams, **options)

    @property
    def output(self) -> str:
        """The output so far."""
        size = os.fstat(self._printed.fileno()).st_size
        return os.pread(self._printed.fileno(), size, 0).decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """The lines of output without make's own messages."""
        return [line for line in self.output.splitlines() if not line.startswith("make: ")]

    def family(self) -> list[psutil.Process]:
        """The live processes of this build."""
        members = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    members.append(process)
        return members

    def commands(self) -> list[str]:
        """The command lines of the live processes."""
        lines = []
        for process in self.family():
            with suppress(psutil.Error, OSError):
                lines.append(" ".join(process.cmdline()))
        return [line for line in lines if line]

    def kill(self) -> bool:
        """Kill -9 the whole family at once, so that none reacts to the end of another; whether it was running."""
        stopped: set[int] = set()
        while running := [process for process in self.family() if process.pid not in stopped]:
            for process in running:
                with suppress(psutil.Error):
                    process.suspend()
                stopped.add(process.pid)
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(LIMIT)
        while self.family():
            time.sleep(0.02)
        return bool(stopped) and self.process.returncode != 0

    def until(self, reached, limit: float = LIMIT) -> bool:
        """Wait until `reached()`; False if the build ends first."""
        deadline = time.monotonic() + limit
        while not reached():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < deadline, f"not reached in {limit} s:\n{self.output[-3000:]}"
            time.sleep(0.01)
        return True

    def wait(self, limit: float = LIMIT) -> int:
        """Wait for the end; the exit code."""
        try:
            self.until(lambda: False, limit)
        except AssertionError:
            self.kill()
            raise
        return self.process.returncode


def restore_signals() -> None:
    """Processes in the background or under nohup ignore these signals."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A home folder for the files that killed kernels leave."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def start(home):
    """Starts a make, start(folder, "run", "NB=facts") -> Build, or `command`; killed at the end of the test."""
    builds = []

    def start(folder: Path, *arguments: str, command: tuple[str, ...] = (), before: tuple[str, ...] = (), **more: str):
        variables = {"JOBS": "2", "PROFILE": "smoke"}
        variables |= dict(argument.split("=", 1) for argument in arguments if "=" in argument)
        targets = [argument for argument in arguments if "=" not in argument]
        make_command = ["make", *targets, f"VENV={sys.prefix}", "SETUP="]
        make_command += [f"{name}={value}" for name, value in variables.items()]
        builds.append(Build(folder, [*before, *(command or make_command)], home, **more))
        return builds[-1]

    yield start
    for build in builds:
        build.kill()


@pytest.fixture
def make(start):
    """Runs a make to its end: make(folder, "run", "NB=facts") -> Build."""

    def make(folder: Path, *arguments: str, **more):
        build = start(folder, *arguments, **more)
        build.wait()
        return build

    return make


@pytest.fixture(scope="session")
def intact(tmp_path_factory, home):
    """The smoke book, built without any disturbance. Nothing may change it.

    $TORTURE_INTACT may name a checkout where it has been built before, to repeat a test.
    """
    if existing := os.environ.get("TORTURE_INTACT"):
        return Path(existing)
    folder = tmp_path_factory.mktemp("intact") / "book"
    check_out(folder)
    command = ["make", "book", f"VENV={sys.prefix}", "SETUP=", "PROFILE=smoke", "JOBS=2"]
    build = Build(folder, command, home)
    assert build.wait() == 0, build.output[-5000:]
    return folder


@pytest.fixture
def fresh(tmp_path):
    """A new checkout, without anything built."""
    check_out(tmp_path / "book")
    return tmp_path / "book"


@pytest.fixture
def copy(intact, tmp_path):
    """A copy of the built book to damage, with the files' times."""
    shutil.copytree(intact, tmp_path / "book", symlinks=True)
    return tmp_path / "book"


def tables(folder: Path, profile: str = "smoke", seed: int = 0) -> dict[str, pd.DataFrame]:
    """Name -> a table of a run, without times."""
    frames = {}
    for file in sorted((folder / "results" / profile / f"seed-{seed}").glob("*.csv")):
        frame = pd.read_csv(file)
        timed = frame.metric.str.contains(MACHINE) if "metric" in frame else pd.Series(False, frame.index)
        timed |= frame.claim.str.startswith("cost_") if "claim" in frame else False
        columns = [name for name in frame if not MACHINE.search(name)]
        frames[file.stem] = frame.loc[~timed, columns].reset_index(drop=True)
    return frames


def assert_same_tables(folder: Path, intact: Path, every: bool = True) -> None:
    """Equal to the bit; unless `every` chapter was built, tables may be missing."""
    frames, expected = tables(folder), tables(intact)
    assert frames and frames.keys() <= expected.keys()
    assert not every or frames.keys() == expected.keys(), f"missing: {expected.keys() - frames.keys()}"
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, expected[name], check_exact=True, obj=name)


def finished_files(folder: Path) -> dict[Path, int]:
    """Records of finished steps, and epochs that a fine-tune can continue from, with their times."""
    paths = [path for path in (folder / "artifacts").rglob("*.json") if io.read_json(path).get("done")]
    for state in (folder / "artifacts").rglob("unfinished/epoch-*/*.safetensors"):
        if len(state.stem) == 64:  # a complete file is named by its hash
            paths.append(state.parents[2] / state.parent.name / "adapter_model.safetensors")
    return {path: path.stat().st_mtime_ns for path in paths}


def partial_files(folder: Path) -> list[Path]:
    """Files that were being written at a kill."""
    return [path for path in (folder / "artifacts").rglob(".[0-9]*-*")] + list((folder / "artifacts").rglob("tmp*"))


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Flip one bit of one byte without changing the file's times, as a failing disk does."""
    times, content = path.stat(), bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    COUNTS["bytes flipped"] += 1


def succeeds(*command: str) -> bool:
    """Whether the command is there and permitted."""
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture
def small(tmp_path_factory):
    """A small disk: small(kib) -> its folder; small.grow(folder, kib) enlarges it."""
    mounted = []

    def mount(kib: int) -> Path:
        folder = tmp_path_factory.mktemp("disk")
        if not succeeds("mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", str(folder)):
            pytest.skip("a small disk needs the right to mount, as root has it")
        mounted.append(folder)
        return folder

    def grow(folder: Path, kib: int) -> None:
        assert succeeds("mount", "-o", f"remount,size={kib}k", str(folder))

    mount.grow = grow
    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def frozen():
    """Makes a folder read-only even for root: frozen(folder); frozen.thaw(folder) undoes it."""
    mounted = []

    def freeze(folder: Path) -> None:
        if not succeeds("mount", "--bind", str(folder), str(folder)):
            pytest.skip("a folder that root can't write to needs the right to mount")
        mounted.append(folder)
        assert succeeds("mount", "-o", "remount,ro,bind", str(folder))

    def thaw(folder: Path) -> None:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        mounted.remove(folder)

    freeze.thaw = thaw
    yield freeze
    for folder in list(mounted):
        thaw(folder)


def without_network() -> list[str]:
    """The prefix that runs a command in a network of its own; skips the test where that isn't permitted."""
    if not succeeds("unshare", "--net", "true"):
        pytest.skip("cutting the network needs the right to unshare it, as root has it")
    return ["unshare", "--net", sys.executable, "-c", LOOPBACK]


# Kernels communicate over 127.0.0.1, which is down in a new network. SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP.
LOOPBACK = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lo:
    flags = struct.unpack("16sH", fcntl.ioctl(lo, 0x8913, struct.pack("16sH", b"lo", 0))[:18])[1]
    fcntl.ioctl(lo, 0x8914, struct.pack("16sH", b"lo", flags | 1))
os.execvp(sys.argv[1], sys.argv[1:])
"""
