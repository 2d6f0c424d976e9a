"""How fast a model is expected to be, before anything is measured on this machine."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from study.config import Run
from study.pipeline.architectures import architecture

FEW, MANY = 16, 40  # sequences that are decoded at a time
MEASURED_ON = 134_515_008  # parameters
FASTEST = 20  # times as fast, however small the model is: what surrounds a step takes its time too


@dataclass(frozen=True)
class Rates:
    """Tokens a second of a model: forward and backward, forward alone, decoded FEW sequences at a time or MANY."""

    training: float
    forward: float
    few: float
    many: float

    def step(self, rows: int) -> float:
        """Seconds until each of so many sequences has its next token: reading the weights, then a share a sequence."""
        few, many = FEW / self.few, MANY / self.many
        return few + max(many - few, 0) * (rows - FEW) / (MANY - FEW)


# On the default model in float32, with two cores that have AVX2 only; `many` by its ratio to `few` on one with AVX-512.
MEASURED = Rates(training=200.0, forward=370.0, few=110.0, many=165.0)


def expected(run: Run) -> Rates:
    """The rates of the profile's model before anything is measured."""
    shape = architecture(run.located(run.profile.model))
    faster = min(FASTEST, MEASURED_ON / shape.weights) if shape else 1.0
    return Rates(*(faster * each for each in astuple(MEASURED)))
