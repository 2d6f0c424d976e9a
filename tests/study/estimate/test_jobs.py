import re
import shutil
from pathlib import Path

import pytest

from ifcore import training
from study import config, selection
from study.chapters.approximation_error import errors, truth
from study.chapters.convergence import measure as convergence
from study.chapters.counterfactual import measure as counterfactual
from study.chapters.facts import measure as facts
from study.chapters.parameter_change import graded
from study.chapters.parameter_change import measure as parameter_change
from study.chapters.sensitivity import grid
from study.estimate import jobs
from study.methods import with_baselines
from study.pipeline import attack, attributions, gate, stages

ROOT = Path(__file__).parents[3]
PROFILES = sorted(path.stem for path in (ROOT / "notebooks" / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("profile", PROFILES)
def test_jobs_are_small_ones_joined_and_come_after_jobs_there_are(profile):
    run = config.make_run(profile, root=ROOT)
    listed = jobs.list_jobs(run)
    names = [job.name for job in listed]
    aligned = {jobs.ALIGNMENT} if run.profile.alignment else set()
    assert len(set(names)) == len(names)
    for job in listed:
        assert job.passes > 0 and re.fullmatch(r"[\w.+-]+", job.name)
        assert len(job.computations) == 1 or job.passes <= jobs.JOINED
        assert job.after < set(names)
        assert aligned <= job.after or {job.name} == aligned or jobs.LINEAR in job.parts


def test_an_attribution_is_as_many_passes_as_counting_by_hand_gives():
    run = config.make_run("laptop", root=ROOT)
    job = next(job for job in jobs._attributions(run) if job.name == "mathqa")
    train, val, dev, epochs, forward = 4 * 16, 4 * 6, 4 * 1, 4, 0.4
    fine_tune, answers = epochs * train + forward * (epochs + 1) * dev, 1.5 * val
    followed = 3 * (train + val + answers)  # at 0, 1 and 3 epochs, the last being there
    assert job.passes == pytest.approx(fine_tune + 2 * answers + 1.5 * (train + val) + followed)


def test_a_cluster_has_twenty_retrainings_to_do_at_a_time():
    listed = jobs.list_jobs(config.make_run("evening", root=ROOT))
    assert sum("counterfactuals" in job.parts and not job.after - {jobs.ALIGNMENT} for job in listed) >= 20


def test_what_section_4_1_attributes_is_what_its_notebook_names():
    called = (ROOT / "notebooks" / "approximation_error.md").read_text()
    assert ", ".join(f'"{name}"' for name in jobs.ITERATED) in called


def test_after_the_jobs_the_chapters_find_everything_made(tmp_path, monkeypatch):
    """What the chapters compute makes no stage but the two tables of retraining, which are of what the jobs left."""
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    small = {
        "datasets": {
            "mixed_small": {"train": {"harmful": 2, "benign": 2}, "val": {"harmful": 1}},
            "facts": {"classes": 4, "train": 1, "val": 1},
        },
        "linear": {"points": [3, 4], "parameters": [100, 200], "draws": 2, "left_out": 10, "dense_limit": 100},
        "two_layer": {"points": 20, "widths": [2, 3], "draws": 2, "epochs": 2},
        "counterfactual": {
            "datasets": {"mixed_small": None},
            "halves": 4,
            "again": 4,
            "removed": 1,
            "left_out": True,
            "unrolled": 1,
        },
        "max_new_tokens": 2,
        "epochs": 2,
    }
    run = config.make_run("smoke", 0, small, tmp_path)
    monkeypatch.setattr(errors, "paper", lambda: {"table5": [{"points": 5, "parameters": 100}]})
    for job in jobs.list_jobs(run):
        job.compute()
    made, restart = [], stages.Stage._restart
    monkeypatch.setattr(stages.Stage, "_restart", lambda stage, *_: made.append(stage.name) or restart(stage, *_))
    tuned: list = []
    monkeypatch.setattr(training, "finetune", lambda *given: tuned.append(given))
    tasks = attributions.compute_attributions(run, selection.STUDIED)
    attack.run_attacks(run), gate.check_gate(run)
    errors.errors(run), errors.runtimes(run), truth.left_out(run)
    convergence.along(run, tasks)
    parameter_change.pairs(run), parameter_change.drift(run, tasks)
    parameter_change.linear_models(run), parameter_change.layers(run), graded.mixtures(run)
    for cell in grid.cells(run):
        grid.scores(cell)
    (attribution,) = attributions.compute_attributions(run, ["facts"]).values()
    with_baselines(run, tasks | {"facts": attribution})
    facts.removal(run, attribution)
    for dataset, varied in counterfactual.variations(run):
        attribution = counterfactual.attributed(varied, dataset)
        if dataset == counterfactual.REMOVED_FROM:
            counterfactual.removal(varied, attribution)
        counterfactual.datamodels(varied, attribution)
    assert made == ["removal", "lds"] and not tuned
