"""Two builds at once: everything is computed once, no partial file is read, and both end with the same numbers."""

import os
import signal
import sys

import pandas as pd
import psutil

from tests.torture.attribute_command import attribution
from tests.torture.conftest import COUNTS, assert_same_tables, finished_files

WAITS = "another build is running in this folder; waiting for it to end"


def test_a_second_make_waits_and_then_has_little_to_do(start, fresh, intact):
    first = start(fresh, "run", "NB=facts")
    assert first.until(lambda: ": begun" in first.output)
    second = start(fresh, "run", "NB=controls")
    assert second.until(lambda: WAITS in second.output)
    assert first.wait() == 0, first.output
    made = finished_files(fresh)
    assert second.wait() == 0, second.output
    COUNTS["builds at once"] += 2
    assert second.lines[0] == WAITS
    assert all(path.stat().st_mtime_ns == born for path, born in made.items())
    assert_same_tables(fresh, intact, every=False)


def test_a_build_whose_head_was_killed_is_waited_for(start, make, fresh, intact):
    """Snakemake and the kernels keep running and writing without it."""
    first = start(fresh, "run", "NB=empirical_study")
    assert first.until(lambda: any(fresh.glob("artifacts/smoke/seed-0/*/fine-tune.json")))
    heads = [p for p in first.family() if "study.commands.build" in p.cmdline() and "python" in p.name()]
    min(heads, key=psutil.Process.create_time).send_signal(signal.SIGKILL)
    COUNTS["kills -9"] += 1
    first.process.wait(60)
    assert first.family(), "no process is left to wait for"
    second = make(fresh, "run", "NB=facts")
    assert second.process.returncode == 0, second.output
    assert second.lines[0] == WAITS
    assert first.family() == []
    assert_same_tables(fresh, intact, every=False)


def test_two_notebooks_outside_make_share_their_artifacts(start, fresh, intact):
    """As papermill runs them on a cluster: without the build's lock, with those of the artifacts."""
    command = (sys.executable, "-m", "study.commands.execute", "notebooks/profiles/smoke.yaml", "0")
    commands = [
        (*command, f"notebooks/{name}.md", f"results/smoke/seed-0/{name}-{n}.ipynb")
        for n, name in enumerate(("facts", "controls", "controls"))
    ]
    builds = [start(fresh, command=command) for command in commands]
    codes = [build.wait() for build in builds]
    COUNTS["builds at once"] += len(builds)
    assert codes == [0, 0, 0], [build.output[-2000:] for build in builds]
    assert_same_tables(fresh, intact, every=False)


def test_two_seeds_at_once_average_what_both_left(make, start, fresh):
    profile = "notebooks/profiles/smoke.yaml"
    for _ in range(2):
        builds = []
        for seed in ("0", "1"):
            output = f"results/smoke/seed-{seed}/facts.ipynb"
            command = (sys.executable, "-m", "study.commands.execute", profile, seed, "notebooks/facts.md", output)
            builds.append(start(fresh, command=command))
        assert [build.wait() for build in builds] == [0, 0], [build.output[-2000:] for build in builds]
    COUNTS["builds at once"] += 4
    frames = [pd.read_csv(fresh / f"results/smoke/seed-{seed}/facts.csv") for seed in (0, 1)]
    assert [frame.seed.unique().tolist() for frame in frames] == [[0], [1]]


def test_two_attributions_into_one_folder_are_right_or_refused(start, tmp_path):
    expected = attribution(tmp_path)
    command = expected.command(out="both")
    builds = [start(tmp_path, command=command) for _ in range(2)]
    codes = [build.wait() for build in builds]
    COUNTS["builds at once"] += 2
    assert 0 in codes
    for code, build in zip(codes, builds, strict=True):
        if code:
            assert build.output.splitlines()[-1].startswith("ifcore attribute: "), build.output
            assert "Traceback" not in build.output
    expected.assert_same(tmp_path / "both")
    assert sorted(os.listdir(tmp_path / "both")) == sorted(["run.json", *expected.tables])
