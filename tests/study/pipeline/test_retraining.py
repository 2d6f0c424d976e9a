"""Fine-tunes without some examples."""

import numpy as np
import pytest

from study import datasets
from study.pipeline import retraining
from study.pipeline.task import Task
from tests.study.pipeline.test_attributions import make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    counts = {"mixed_small": {"train": {"harmful": 3, "benign": 4}, "val": {"harmful": 2}}}
    return make_run(tmp_path_factory.mktemp("run"), datasets=counts)


def test_a_task_that_is_asked_for_twice_is_retrained_once(run):
    tasks = [Task(run, "mixed_small", left_out=(row,)) for row in (4, 5, 4)]
    computed = []
    results = retraining.map_tasks(lambda task: computed.append(task) or task.left_out, tasks, "three")
    assert results == [(4,), (5,), (4,)] and computed == tasks[:2]


def test_losses_are_those_of_the_examples_that_are_explained_now(run, monkeypatch):
    task = Task(run, "mixed_small", left_out=(4,))
    losses, split = retraining.losses(task), retraining.attributions.examples(task)
    others = datasets.Split(split.train, split.val[::-1], split.dev)
    monkeypatch.setattr(retraining.attributions, "examples", lambda _: others)
    np.testing.assert_allclose(retraining.losses(task), losses[::-1], rtol=1e-5)
