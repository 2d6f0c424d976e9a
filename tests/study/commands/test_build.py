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

from study import config
from study.commands import build
from study.commands.progress import Chapter, Progress
from study.estimate import work
from study.estimate.rates import MEASURED, expected

ROOT = Path(__file__).parents[3]
CHAPTER = """
import sys
from study.pipeline.events import emit
emit("chapter", output="book/executed/convergence.ipynb", state="begun")
print("Select jobs to execute...")
print("fine-tuning a:  50%|##   | 1/2 [00:01<00:01,  1.00s/step]", end="\\r", file=sys.stderr)
"""


@pytest.fixture
def carry_out(tmp_path, monkeypatch):
    """Runs a program as the build would: carry_out(program, …) -> exit code. The log is results/p/build.log."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(build, "TICK", 0.02)

    def run(*programs):
        chapter = Chapter("book/executed/convergence.ipynb", "Convergence", None, [], 5.0)
        progress = Progress([chapter], MEASURED.training)
        return build.carry_out(
            [[sys.executable, "-c", program] for program in programs], progress, Path("results", "p")
        )

    return run


def test_without_a_terminal_a_line_tells_of_a_chapter_and_nothing_else_is_printed(carry_out, capsys):
    assert carry_out(CHAPTER + 'emit("chapter", output="book/executed/convergence.ipynb", state="made")') == 0
    begun, made = capsys.readouterr().out.splitlines()
    assert begun == "chapter 1 of 1, Convergence"
    assert made.startswith("chapter 1 of 1, Convergence: made; 100% of the whole, ")
    assert Path("results", "p", "build.log").read_text().count("Select jobs") == 1


def test_a_failure_is_the_notebooks_one_line_and_the_name_of_the_log(carry_out, capsys):
    failed = 'emit("chapter", output="book/executed/convergence.ipynb", state="failed", error="a.md: ValueError: x: 1")'
    code = carry_out(CHAPTER + failed + '\nprint("RuleException: much\\nmore")\nsys.exit(3)', "never = reached")
    assert code == 3
    assert capsys.readouterr().err.splitlines() == ["a.md: ValueError: x: 1", "log: results/p/build.log"]


def test_an_error_is_one_line_that_moves_no_terminal(carry_out, capsys):
    error = "a.md: ValueError: \\x1b[2J\\nb\\u202ec"
    failed = f'emit("chapter", output="book/executed/convergence.ipynb", state="failed", error="{error}")'
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
    command = [sys.executable, "stub.py", "notebooks/profiles/p.yaml", "0", "book", "--", "--more"]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    hear_ctrl_c = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # what runs in the background is born deaf to it
    running = subprocess.Popen(command, stderr=subprocess.PIPE, preexec_fn=hear_ctrl_c, **options)
    family = wait_for(lambda: psutil.Process(running.pid).children(recursive=True), 2)
    assert family[0].cmdline()[3:] == ["--config", "profile=p", "seed=0", "jobs=2", "seeds=", "--more", "--", "book"]
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
    def result(self): return [], 1.0, 2

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


def test_a_book_is_its_chapters_in_order_and_a_sweep_has_them_for_every_seed_before(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = ["empirical_study", "approximation_error", "convergence", "parameter_change"]
    names += ["controls", "sensitivity", "facts", "counterfactual", "your_own", "speed", "appendix_b"]
    book, speed, _ = build.plan_chapters("smoke", 0, "book", [])
    shown = [*names, "introduction", "conclusion"]  # which read what the others leave
    assert [each.output for each in book] == [f"book/executed/{name}.ipynb" for name in shown]
    assert book[2].title == "Convergence"
    assert [item.stage for each in book for item in each.items] == [
        item.stage for item in work.work(config.make_run("smoke", root=ROOT), names)
    ]
    assert speed == expected(config.make_run("smoke", root=ROOT)).training
    sweep, *_ = build.plan_chapters("smoke", 0, "sweep", [0, 1])
    wanted = [f"results/smoke/seed-{seed}/{name}.ipynb" for seed in (0, 1) for name in names]
    assert [each.output for each in sweep] == wanted + [each.output for each in book]
    (convergence,) = build.plan_chapters("smoke", 3, "convergence", [])[0]
    assert convergence.output == "results/smoke/seed-3/convergence.ipynb"
    alone, *_ = build.plan_chapters("smoke", 3, "conclusion", [])
    assert [each.output for each in alone] == [f"results/smoke/seed-3/{each}.ipynb" for each in [*names, "conclusion"]]


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
