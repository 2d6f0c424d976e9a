"""Stand-ins for Snakemake: short Python programs that write to the log and emit events."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from study.commands import build
from study.commands.progress import Progress
from study.commands.work_plan import Piece

ROOT = Path(__file__).parents[3]
CHAPTER = """
import sys
from study.commands.events import emit
emit("book/executed/convergence.ipynb", "begun")
print("Select jobs to execute...")
"""


@pytest.fixture
def carry_out(tmp_path, monkeypatch):
    """Runs a program as the build would: carry_out(program, …) -> exit code. The log is results/p/build.log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(build, "TICK", 0.02)

    def run(*programs):
        chapter = Piece("book/executed/convergence.ipynb", "Convergence", [], [], [], "", 5.0, 0, 0)
        progress = Progress([chapter], 1, 0.0)
        return build.carry_out(
            [[sys.executable, "-c", program] for program in programs], progress, Path("results", "p")
        )

    return run


def test_without_a_terminal_a_line_tells_of_a_chapter_and_nothing_else_is_printed(carry_out, capsys):
    assert carry_out(CHAPTER + 'emit("book/executed/convergence.ipynb", "made")') == 0
    begun, made = capsys.readouterr().out.splitlines()
    assert begun == "Convergence: begun"
    assert made == "Convergence: made in 0 s; 1 of 1, 100%, 0 s, about 0 s left"
    assert Path("results", "p", "build.log").read_text().count("Select jobs") == 1


def test_a_failure_is_the_notebooks_one_line_and_the_name_of_the_log(carry_out, capsys):
    failed = 'emit("book/executed/convergence.ipynb", "failed", "a.md: ValueError: x: 1")'
    code = carry_out(CHAPTER + failed + '\nprint("RuleException: much\\nmore")\nsys.exit(3)', "never = reached")
    assert code == 3
    assert capsys.readouterr().err.splitlines() == ["a.md: ValueError: x: 1", "log: results/p/build.log"]


def test_a_job_that_ends_without_a_word_is_named_and_so_is_snakemake(carry_out, capsys):
    assert carry_out(CHAPTER + "sys.exit(1)") == 1
    assert capsys.readouterr().err.startswith("Convergence: ended without a word, most likely killed, as for lack of ")
    carry_out(CHAPTER + "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert capsys.readouterr().err.startswith("Snakemake was killed by signal 9; the same command goes on from here\n")


def test_an_error_is_one_line_that_moves_no_terminal(carry_out, capsys):
    error = "a.md: ValueError: \\x1b[2J\\nb\\u202ec"
    failed = f'emit("book/executed/convergence.ipynb", "failed", "{error}")'
    assert carry_out(CHAPTER + failed + "\nsys.exit(1)") == 1
    assert capsys.readouterr().err.splitlines()[0] == "a.md: ValueError: ?[2J b?c"


def test_what_is_of_a_time_to_come_is_made_again(tmp_path, monkeypatch):
    """As after the clock was set back: it would look newer than a change of now."""
    monkeypatch.chdir(tmp_path)
    names = ("book/executed/a.ipynb", "book/executed/b.ipynb", "_build/html/index.html")
    paths = [Path(name) for name in (*names, "_build/.doctrees/environment.pickle")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    build._distrust_future(paths[:2])
    assert all(path.exists() for path in paths)
    for path in paths[1:]:
        os.utime(path, (time.time() + 3600,) * 2)
    build._distrust_future(paths[:2])
    assert [path.exists() for path in paths] == [True, False, False, False]
    build._distrust_future(paths[:2])


def test_ctrl_c_ends_every_process_and_says_how_to_go_on(tmp_path):
    (tmp_path / "stub.py").write_text(STUB)
    command = [sys.executable, "stub.py", "notebooks/profiles/p.yaml", "0", "book", "--jobs", "3", "--", "--more"]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    hear_ctrl_c = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # what runs in the background is born deaf to it
    running = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c, **options)
    family = wait_for(lambda: psutil.Process(running.pid).children(recursive=True), 2)
    assert family[0].cmdline()[3:5] == ["--cores", "3"]
    assert family[0].cmdline()[-5:] == ["--config", "plan=artifacts/p/plan.json", "--more", "--", "chapters"]
    waiting = subprocess.Popen(command, stdout=subprocess.PIPE, **options)
    assert waiting.stdout.readline() == "another build is running in this folder; waiting for it to end\n"
    waiting.kill()
    waiting.wait()
    running.send_signal(signal.SIGINT)
    assert running.communicate()[1] == "stopped; the same command continues from here\n"
    assert running.returncode == 130
    assert not [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_ctrl_c_in_the_moment_in_which_snakemake_is_born_ends_it_as_well(carry_out, monkeypatch):
    born, popen = [], subprocess.Popen

    def interrupted(*arguments, **options):
        born.append(popen(*arguments, **options))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        return born[-1]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it would be ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            carry_out("import time; time.sleep(60)")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert born[0].poll() is not None


# The build with a stand-in for Snakemake, which starts a kernel in a session of its own, and with nothing to check.
STUB = """
import sys
from study.commands import build

class Pool:
    def __init__(self, *_, **__): pass
    def __enter__(self): return self
    def __exit__(self, *_): pass
    def submit(self, *_): return self
    def result(self): return {"pieces": []}

kernel = "import subprocess, time; subprocess.Popen(['sleep', '99'], start_new_session=True); time.sleep(99)"
build.ProcessPoolExecutor, build.SNAKEMAKE = Pool, [sys.executable, "-c", kernel]
sys.exit(build.main())
"""


def wait_for(ask, count):
    for _ in range(300):
        if len(items := ask()) >= count:
            return items
        time.sleep(0.05)
    raise TimeoutError


def test_what_snakemake_may_use_is_this_machine_or_what_a_clusters_options_say():
    limits, at_a_time = build._limits(0, [], on_card=False)
    cores = len(psutil.Process().cpu_affinity())
    assert limits == ["--cores", str(cores), "--resources", limits[3], "card=1"] and at_a_time == cores
    assert int(limits[3].removeprefix("mem_mb=")) > 1_000
    assert build._limits(3, [], on_card=False)[1] == 3
    assert build._limits(3, [], on_card=True)[1] == 1
    assert build._limits(0, ["--executor", "slurm", "--jobs", "20"], on_card=False) == ([], 20)


def test_a_wrong_profile_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("notebooks", "profiles").mkdir(parents=True)
    Path("_toc.yml").write_text("- file: book/executed/convergence\n")
    Path("notebooks", "profiles", "p.yaml").write_text("profile: p\nmodel: random:tiny-llama\nlerning_rate: 1\n")
    with pytest.raises(ValueError, match="p.yaml: "):
        build.build("p", 0, "book", [], 1, [])
    assert {path.name for path in tmp_path.iterdir()} == {"notebooks", "_toc.yml"}


def test_a_source_of_a_time_to_come_counts_as_changed_now(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = Path("notebooks", "facts.md")
    source.parent.mkdir()
    source.touch()
    os.utime(source, (time.time() + 86_400,) * 2)
    build._distrust_future([])
    assert abs(source.stat().st_mtime - time.time()) < 60
