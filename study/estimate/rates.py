"""The recorded speed of a model: what is expected before anything is measured on this machine."""

from dataclasses import astuple, dataclass

from study.config import Run
from study.pipeline.architectures import architecture

SMALL_BATCH, LARGE_BATCH = 16, 40  # sequences that are decoded at a time
MEASURED_ON = 134_515_008  # parameters
FASTEST = 20  # times as fast at most, however small the model is: what surrounds a step takes time, too


@dataclass(frozen=True)
class Rates:
    """Tokens a second of a model: forward and backward, forward only, decoded in small or large batches."""

    training: float
    forward: float
    small: float
    large: float

    def step(self, rows: int) -> float:
        """Seconds until each of `rows` sequences has its next token: to read the weights, then some a sequence."""
        small, large = SMALL_BATCH / self.small, LARGE_BATCH / self.large
        return small + max(large - small, 0) * (rows - SMALL_BATCH) / (LARGE_BATCH - SMALL_BATCH)


# The default model in float32 on two cores with AVX2; `large` from its ratio to `small` on a core with AVX-512.
MEASURED = Rates(training=200.0, forward=370.0, small=110.0, large=165.0)


def expected(run: Run) -> Rates:
    """The recorded rates, scaled to the size of the profile's model."""
    shape = architecture(run.located(run.profile.model) or "")
    faster = min(FASTEST, MEASURED_ON / shape.weights) if shape else 1.0
    return Rates(*(faster * rate for rate in astuple(MEASURED)))
