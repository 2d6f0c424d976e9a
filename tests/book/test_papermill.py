"""papermill on the notebook itself, as a cluster would call it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.prefix) / "bin"


@pytest.fixture(scope="module")
def papermill(checkout, tmp_path_factory):
    """Runs the notebook: papermill("-p", "seed", "1") -> CompletedProcess."""
    folder = tmp_path_factory.mktemp("papermill")
    plain = folder / "plain.ipynb"
    convert = [BIN / "jupytext", "--quiet", "--to", "ipynb", "--output", plain, "notebooks/facts.md"]
    subprocess.run(convert, cwd=checkout, check=True)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        profile = checkout / "notebooks" / "profiles" / "smoke.yaml"
        command = [BIN / "papermill", plain, folder / "out.ipynb", "-f", profile, *arguments]
        environment = os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            [*command, "-k", "python3", "-l", "python"], cwd=checkout, env=environment, capture_output=True, text=True
        )

    return run


def test_a_seed_gives_the_same_tables_again(papermill, checkout):
    results, artifacts = (checkout / name / "smoke" / "seed-7" for name in ("results", "artifacts"))
    contents = []
    for _ in range(2):
        for file in artifacts.rglob("*.json"):
            file.unlink()  # without its record, an artifact is made again
        assert papermill("-p", "seed", "7").returncode == 0
        made = (*sorted(artifacts.rglob("*.safetensors")), results / "facts.csv")
        contents.append([path.read_bytes() for path in made])
    assert contents[0] == contents[1]


def test_a_misspelt_parameter_stops_it(papermill):
    done = papermill("-p", "sede", "3")
    assert done.returncode != 0
    assert "sede: 3; unknown key" in done.stderr


def test_a_sweep_over_seeds_that_differ_turns_the_table_into_means(make, checkout, book):
    """All of it would take minutes and shows no more: it is executed as far as one chapter, without the pages."""
    done = make("sweep", "PROFILE=smoke", "SEEDS=1", "SNAKEMAKE_ARGS=--until book-executed-empirical_study-ipynb")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (checkout / "results" / "smoke" / "seed-1" / "empirical_study.ipynb").exists()
    tables = [(checkout / "results" / "smoke" / f"seed-{seed}" / "table2_harmful.csv").read_text() for seed in (0, 1)]
    assert tables[0] != tables[1]
    chapter = (checkout / "book" / "executed" / "empirical_study.ipynb").read_text(encoding="utf-8")
    assert "mean ± s.d. over" in chapter
