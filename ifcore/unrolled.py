"""The derivative of validation losses by the weights of training examples, through the fine-tune as it ran.

The fine-tune of `training.finetune` is replayed and then differentiated step by step from its end: through AdamW and
the clipping by hand, through the gradient of a batch by a second backward pass. Nothing is approximated: what it says
of a small change of a weight is what retraining with that weight says, dropout's masks, order and schedule the same.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from tqdm import tqdm

from ifcore.batches import Batch
from ifcore.checkpoints import BETA2
from ifcore.examples import Tokens
from ifcore.losses import device_of, evaluating, example_losses
from ifcore.onednn import FrozenLinear
from ifcore.training import MAX_NORM, Settings, Step, adapter_parameters, schedule, seeded_dropout, shares

BETA1, EPSILON = 0.9, 1e-8  # AdamW's defaults
TOLERANCE = 0.25  # of the way of the adapter: what half precision may move it


def unrolled(
    model: PeftModel,
    train: list[Tokens],
    val: Sequence[Batch],
    settings: Settings,
    *,
    targets: Tensor | None = None,
    expected: Tensor | None = None,
    progress: str = "",
) -> Tensor:
    """Differentiate validation losses after a fine-tune by the weights of its training examples.

    A score is −∂ loss_m / ∂ w_i at w = 1, where `training.finetune` trains on Σ w_i loss_i: positive if the example
    lowers the loss. All epochs are run; early stopping is not differentiated. It takes the time of four fine-tunes, and
    of one more a target; the memory of a step's graph, 3·K·P numbers and about 7·√steps·P for states.

    Parameters
    ----------
    model : PeftModel
        In float32 or float64, its adapter as it was before the fine-tune; afterwards all is as it was.
    train : list of Tokens
        The N training examples, in the order in which they were given to `finetune`.
    val : sequence of Batch
        Together they hold the validation examples 0 … M−1, each once.
    settings : Settings
        Those of the fine-tune. Activations are not recomputed, whatever it says: the numbers are the same.
    targets : Tensor, optional
        Linear combinations of the validation losses, [K, M], to differentiate in their place.
    expected : Tensor, optional
        The adapter after the fine-tune, [P], which the replay has to come near.
    progress : str
        The label of a progress bar, of twice as many units as steps; none without.

    Returns
    -------
    Tensor
        Scores [M, N] in float64 on the CPU, or [K, N].

    Raises
    ------
    ValueError
        For a fine-tune that ends elsewhere than `expected`, a model in half precision, one that trains something else
        than LoRA, no examples, sizes below 1, rows of `val` missing or there twice, and targets of another shape.
    FloatingPointError
        Where a gradient or a score is not finite.

    Notes
    -----
    AdamW's first step is almost the sign of the gradient, whose derivative is 0 but where a gradient is about ε. What
    the scores of its batch have from that step rests on few parameters: in float32, rounding may change it visibly.

    References
    ----------
    Ilyas and Engstrom 2025, arXiv 2504.16430; Maclaurin et al. 2015, arXiv 1502.03492.
    """
    targets = _checked_targets(val, targets)
    steps = schedule(settings, len(train)) if train else []
    length = math.isqrt(max(len(steps) - 1, 0)) + 1
    segments = [steps[i : i + length] for i in range(0, len(steps), length)]
    with _replaying(model, train, settings) as run, _bar(progress, 2 * len(steps)) as bar:
        starts, state = [], _start(run)
        for segment in segments:
            starts.append(state)
            for step in segment:
                state = _advance(run, state, step)[1]
                bar.update()
        if expected is not None:
            _check_replay(starts[0].theta, state.theta, expected)
        adjoint = _final_adjoint(run, state, val, targets)
        scores = torch.zeros(len(targets), len(train), dtype=torch.float64)
        for segment in reversed(segments):
            states, grads = [starts.pop()], []
            for step in segment:
                g, state = _advance(run, states[-1], step)
                grads.append(g)
                states.append(state)
            for step in reversed(segment):
                state = states.pop()
                _go_back(run, step, states[-1], grads.pop(), state, adjoint, scores)
                bar.update()
    if not scores.isfinite().all():
        raise FloatingPointError("scores: some are not finite; lower learning_rate or choose precision float64")
    return scores


def replay(model: PeftModel, train: list[Tokens], settings: Settings) -> Tensor:
    """The adapter that `training.finetune` leaves without early stopping, [P]: its parameters one after another.

    The model is as it was, afterwards. Raises as `unrolled` does.
    """
    with _replaying(model, train, settings) as run:
        state = _start(run)
        for step in schedule(settings, len(train)):
            state = _advance(run, state, step)[1]
        return state.theta


def check_precision(model: nn.Module) -> None:
    """Raise ValueError for a model in half precision, in which a second derivative would be noise."""
    if refused := {parameter.dtype for parameter in model.parameters()} - {torch.float32, torch.float64}:
        raise ValueError(f"model: it has parameters in {refused.pop()}; for unrolled, load it in float32 or float64")


@dataclass(frozen=True)
class _Run:
    """What all steps of a fine-tune share: `size` is that of a micro-batch, `dropout` what masks are drawn from."""

    model: PeftModel
    adapter: list[nn.Parameter]
    train: list[Tokens]
    size: int
    dropout: torch.Generator


@dataclass(frozen=True)
class _State:
    """Where a fine-tune is between two steps: parameters and AdamW's moments, [P] each; the state of `dropout`."""

    theta: Tensor
    m: Tensor
    v: Tensor
    dropout: Tensor


@dataclass(frozen=True)
class _Adjoint:
    """The derivatives of K targets by a state, [K, P] each, changed in place."""

    theta: Tensor
    m: Tensor
    v: Tensor


@contextmanager
def _replaying(model: PeftModel, train: list[Tokens], settings: Settings) -> Iterator[_Run]:
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
            yield _Run(model, adapter, train, size, dropout)
        finally:
            vector_to_parameters(start, adapter)


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


def _bar(label: str, total: int) -> tqdm:
    return tqdm(total=total, desc=label, unit="step", disable=not label)


def _checked_targets(val: Sequence[Batch], targets: Tensor | None) -> Tensor:
    """The targets [K, M], by default each loss by itself."""
    rows = torch.cat([batch.rows for batch in val]).cpu() if val else torch.zeros(0)
    M = len(rows)
    if not M or not torch.equal(rows.sort().values, torch.arange(M)):
        raise ValueError(f"val: {M} rows; they must be 0 … {M - 1}, each once, and one at least")
    targets = torch.eye(M, dtype=torch.float64) if targets is None else targets
    if targets.dim() != 2 or targets.shape[1] != M or not len(targets):
        raise ValueError(f"targets: shape {tuple(targets.shape)}; must be [targets, {M} validation examples], none 0")
    return targets.detach().cpu()


def _start(run: _Run) -> _State:
    theta = parameters_to_vector(run.adapter).detach()
    return _State(theta, torch.zeros_like(theta), torch.zeros_like(theta), run.dropout.get_state())


def _advance(run: _Run, state: _State, step: Step) -> tuple[Tensor, _State]:
    """The unclipped gradient g [P] of a step, and the state after it."""
    g = torch.zeros_like(state.theta)
    for _, losses in _losses(run, state, step):
        g += parameters_to_vector(torch.autograd.grad(losses.sum() / len(step.rows), run.adapter))
    if not g.isfinite().all():
        problem = f"gradient: not finite at epoch {step.epoch}, step {step.number + 1}"
        raise FloatingPointError(f"{problem}; lower learning_rate or choose precision float64")
    clipped = _clip_coefficient(g) * g
    m = BETA1 * state.m + (1 - BETA1) * clipped
    v = BETA2 * state.v + (1 - BETA2) * clipped.square()
    rate, _, denominator = _adam(step, v)
    return g, _State(state.theta - rate * m / denominator, m, v, run.dropout.get_state())


def _losses(run: _Run, state: _State, step: Step) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """`shares` of a step from a state, with the masks that dropout drew there."""
    vector_to_parameters(state.theta, run.adapter)
    run.dropout.set_state(state.dropout)
    run.model.train()
    yield from shares(run.model, run.train, step.rows, run.size)


def _clip_coefficient(g: Tensor) -> Tensor:
    return (MAX_NORM / (g.norm() + 1e-6)).clamp(max=1.0)


def _adam(step: Step, v: Tensor) -> tuple[float, Tensor, Tensor]:
    """Of θ ← θ − rate · m / (√v̂ + ε): the rate, √v̂ and the denominator."""
    root = (v / (1 - BETA2 ** (step.number + 1))).sqrt()
    return step.learning_rate / (1 - BETA1 ** (step.number + 1)), root, root + EPSILON


def _check_replay(start: Tensor, end: Tensor, expected: Tensor) -> None:
    """Raise ValueError where a replay ends elsewhere than the fine-tune did."""
    way, off = (expected - start).norm(), (expected.to(end) - end).norm()
    if not off <= TOLERANCE * way:
        raise ValueError(
            f"checkpoints: the fine-tune, replayed, ends {off / way:.0%} of its way from the last one; give the rows "
            "that it had, in their order, and checkpoints of all epochs"
        )


def _final_adjoint(run: _Run, state: _State, val: Sequence[Batch], targets: Tensor) -> _Adjoint:
    """The gradients of the targets by the last parameters; the moments are of no use any more."""
    vector_to_parameters(state.theta, run.adapter)
    run.model.eval()
    theta = state.theta.new_zeros(len(targets), len(state.theta))
    for batch in val:
        losses = example_losses(run.model, batch.to(theta.device))
        coefficients = targets[:, batch.rows.cpu()].to(losses)  # [K, b]
        for k in coefficients.any(1).nonzero()[:, 0].tolist():
            grads = torch.autograd.grad(losses, run.adapter, coefficients[k], retain_graph=True)
            theta[k] += parameters_to_vector(grads)
    return _Adjoint(theta, torch.zeros_like(theta), torch.zeros_like(theta))


def _go_back(run: _Run, step: Step, before: _State, g: Tensor, after: _State, adjoint: _Adjoint, scores: Tensor):
    """Take the adjoint from the state after a step to that before it; add to the scores [K, N] of its examples."""
    rate, root, denominator = _adam(step, after.v)
    # Where v̂ is 0, all gradients have been: lora_A's while lora_B is zero. √ has no derivative there and needs none.
    ratio = torch.where(root > 0, after.m / root, 0.0)
    by_v = rate / (2 * (1 - BETA2 ** (step.number + 1))) * ratio / denominator.square()
    coefficient = _clip_coefficient(g)
    for theta, m, v in zip(adjoint.theta, adjoint.m, adjoint.v, strict=True):
        m -= rate * theta / denominator
        v += by_v * theta
    for rows, losses in _losses(run, before, step):
        weights = torch.ones_like(losses, requires_grad=True)
        share = (losses * weights).sum() / len(step.rows)
        grads = torch.autograd.grad(share, run.adapter, create_graph=True)
        for k, theta in enumerate(adjoint.theta):
            g_bar = (1 - BETA1) * adjoint.m[k] + 2 * (1 - BETA2) * coefficient * g * adjoint.v[k]
            pieces = _like(run.adapter, _through_clipping(g, coefficient, g_bar))
            retain, inputs = k + 1 < len(scores), [*run.adapter, weights]
            *by_theta, by_weights = torch.autograd.grad(grads, inputs, pieces, retain, materialize_grads=True)
            theta += parameters_to_vector(by_theta)
            scores[k, list(rows)] -= by_weights.cpu().double()
    adjoint.m.mul_(BETA1)
    adjoint.v.mul_(BETA2)


def _through_clipping(g: Tensor, coefficient: Tensor, clipped_bar: Tensor) -> Tensor:
    """The adjoint of g from that of c g, c = min(1, 1/(‖g‖ + 10⁻⁶))."""
    if coefficient == 1:
        return clipped_bar
    return coefficient * (clipped_bar - coefficient / MAX_NORM * g.dot(clipped_bar) / g.norm() * g)


def _like(parameters: Sequence[Tensor], vector: Tensor) -> list[Tensor]:
    pieces = vector.split([parameter.numel() for parameter in parameters])
    return [piece.view_as(parameter) for piece, parameter in zip(pieces, parameters, strict=True)]
