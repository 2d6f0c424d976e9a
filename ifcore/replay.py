"""A fine-tune of `training.finetune` run again, step by step and by its own formulas."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from ifcore.checkpoints import BETA2
from ifcore.examples import Tokens
from ifcore.losses import device_of, evaluating
from ifcore.onednn import FrozenLinear
from ifcore.training import MAX_NORM, Settings, Step, adapter_parameters, schedule, seeded_dropout, shares

BETA1, EPSILON = 0.9, 1e-8  # AdamW's defaults
TOLERANCE = 0.25  # of the way of the adapter: what half precision may move it


@dataclass(frozen=True)
class Run:
    """What all steps of a fine-tune share: `size` is that of a micro-batch, `dropout` what masks are drawn from."""

    model: PeftModel
    adapter: list[nn.Parameter]
    train: list[Tokens]
    size: int
    dropout: torch.Generator


@dataclass(frozen=True)
class State:
    """Where a fine-tune is between two steps: parameters and AdamW's moments, [P] each; the state of `dropout`."""

    theta: Tensor
    m: Tensor
    v: Tensor
    dropout: Tensor


def replay(model: PeftModel, train: list[Tokens], settings: Settings) -> Tensor:
    """The adapter that `training.finetune` leaves without early stopping, [P]: its parameters one after another.

    The model is as it was, afterwards. Raises as `unrolled` does.
    """
    with replaying(model, train, settings) as run:
        state = first_state(run)
        for step in schedule(settings, len(train)):
            state = advance(run, state, step)[1]
        return state.theta


def check_precision(model: nn.Module) -> None:
    """Raise ValueError for a model in half precision, in which a second derivative would be noise."""
    if refused := {parameter.dtype for parameter in model.parameters()} - {torch.float32, torch.float64}:
        raise ValueError(f"model: it has parameters in {refused.pop()}; for unrolled, load it in float32 or float64")


def check_replay(start: Tensor, end: Tensor, expected: Tensor) -> None:
    """Raise ValueError where a replay ends elsewhere than the fine-tune did."""
    way, off = (expected - start).norm(), (expected.to(end) - end).norm()
    if not off <= TOLERANCE * way:
        raise ValueError(
            f"checkpoints: the fine-tune, replayed, ends {off / way:.0%} of its way from the last one; give the rows "
            "that it had, in their order, and checkpoints of all epochs"
        )


@contextmanager
def replaying(model: PeftModel, train: list[Tokens], settings: Settings) -> Iterator[Run]:
    """The model ready for the first step; it, its adapter and the generator as they were, afterwards."""
    size = settings.batch_size if settings.micro_batch is None else settings.micro_batch
    if min(len(train), settings.epochs, settings.batch_size, size) < 1:
        raise ValueError(f"train: {len(train)} examples, {settings}; examples, epochs, sizes: 1 or more each")
    check_precision(model)
    adapter = adapter_parameters(model)
    start = parameters_to_vector(adapter).detach()
    with (
        seeded_dropout(device_of(model), settings.seed) as dropout,
        evaluating(model),
        _twice_differentiable(model),
        sdpa_kernel(SDPBackend.MATH),  # the fused kernels have no second derivative
    ):
        try:
            yield Run(model, adapter, train, size, dropout)
        finally:
            vector_to_parameters(start, adapter)


def first_state(run: Run) -> State:
    """Before the first step."""
    theta = parameters_to_vector(run.adapter).detach()
    return State(theta, torch.zeros_like(theta), torch.zeros_like(theta), run.dropout.get_state())


def advance(run: Run, state: State, step: Step) -> tuple[Tensor, State]:
    """The unclipped gradient g [P] of a step, and the state after it."""
    g = torch.zeros_like(state.theta)
    for _, losses in losses_from(run, state, step):
        g += parameters_to_vector(torch.autograd.grad(losses.sum() / len(step.rows), run.adapter))
    if not g.isfinite().all():
        problem = f"gradient: not finite at epoch {step.epoch}, step {step.number + 1}"
        raise FloatingPointError(f"{problem}; lower learning_rate or choose precision float64")
    clipped = clip_coefficient(g) * g
    m = BETA1 * state.m + (1 - BETA1) * clipped
    v = BETA2 * state.v + (1 - BETA2) * clipped.square()
    rate, _, denominator = adam_step(step, v)
    return g, State(state.theta - rate * m / denominator, m, v, run.dropout.get_state())


def losses_from(run: Run, state: State, step: Step) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """`shares` of a step from a state, with the masks that dropout drew there."""
    vector_to_parameters(state.theta, run.adapter)
    run.dropout.set_state(state.dropout)
    run.model.train()
    yield from shares(run.model, run.train, step.rows, run.size)


def clip_coefficient(g: Tensor) -> Tensor:
    """By what clipping multiplies a gradient [P]."""
    return (MAX_NORM / (g.norm() + 1e-6)).clamp(max=1.0)


def adam_step(step: Step, v: Tensor) -> tuple[float, Tensor, Tensor]:
    """Of θ ← θ − rate · m / (√v̂ + ε): the rate, √v̂ and the denominator."""
    root = (v / (1 - BETA2 ** (step.number + 1))).sqrt()
    return step.learning_rate / (1 - BETA1 ** (step.number + 1)), root, root + EPSILON


@contextmanager
def _twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Without oneDNN's products, which have no second derivative."""
    linears: list[nn.Module] = [module for module in model.modules() if type(module) is FrozenLinear]
    for linear in linears:
        linear.__class__ = nn.Linear
    try:
        yield
    finally:
        for linear in linears:
            linear.__class__ = FrozenLinear
