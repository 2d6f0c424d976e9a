"""The derivative of validation losses by the weights of training examples, through the fine-tune as it ran.

The fine-tune of `training.finetune` is replayed and then differentiated step by step from its end: through AdamW and
the clipping by hand, through the gradient of a batch by a second backward pass. Nothing is approximated: what it says
of a small change of a weight is what retraining with that weight says, dropout's masks, order and schedule the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from tqdm import tqdm

from ifcore.batches import Batch
from ifcore.checkpoints import BETA2
from ifcore.examples import Tokens
from ifcore.losses import example_losses
from ifcore.replay import (
    BETA1,
    Run,
    State,
    adam_step,
    advance,
    check_replay,
    clip_coefficient,
    first_state,
    losses_from,
    replaying,
)
from ifcore.training import MAX_NORM, Settings, Step, schedule


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
    with replaying(model, train, settings) as run, _bar(progress, 2 * len(steps)) as bar:
        starts, state = [], first_state(run)
        for segment in segments:
            starts.append(state)
            for step in segment:
                state = advance(run, state, step)[1]
                bar.update()
        if expected is not None:
            check_replay(starts[0].theta, state.theta, expected)
        adjoint = _final_adjoint(run, state, val, targets)
        scores = torch.zeros(len(targets), len(train), dtype=torch.float64)
        for segment in reversed(segments):
            states, grads = [starts.pop()], []
            for step in segment:
                g, state = advance(run, states[-1], step)
                grads.append(g)
                states.append(state)
            for step in reversed(segment):
                state = states.pop()
                _go_back(run, step, states[-1], grads.pop(), state, adjoint, scores)
                bar.update()
    if not scores.isfinite().all():
        raise FloatingPointError("scores: some are not finite; lower learning_rate or choose precision float64")
    return scores


@dataclass(frozen=True)
class _Adjoint:
    """The derivatives of K targets by a state, [K, P] each, changed in place."""

    theta: Tensor
    m: Tensor
    v: Tensor


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


def _final_adjoint(run: Run, state: State, val: Sequence[Batch], targets: Tensor) -> _Adjoint:
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


def _go_back(run: Run, step: Step, before: State, g: Tensor, after: State, adjoint: _Adjoint, scores: Tensor):
    """Take the adjoint from the state after a step to that before it; add to the scores [K, N] of its examples."""
    rate, root, denominator = adam_step(step, after.v)
    # Where v̂ is 0, all gradients have been: lora_A's while lora_B is zero. √ has no derivative there and needs none.
    ratio = torch.where(root > 0, after.m / root, 0.0)
    by_v = rate / (2 * (1 - BETA2 ** (step.number + 1))) * ratio / denominator.square()
    coefficient = clip_coefficient(g)
    for theta, m, v in zip(adjoint.theta, adjoint.m, adjoint.v, strict=True):
        m -= rate * theta / denominator
        v += by_v * theta
    for rows, losses in losses_from(run, before, step):
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
