"""Softmax regression: trained to convergence, with its exact Hessian, at any number of parameters.

p(x) = softmax(W x) with W [C, D], so P = C·D parameters and no intercept. Training minimises the mean cross-entropy
plus (decay/2) ‖W‖², whose Hessian is H + decay·I with

    H = (1/N) Σ_i S_i ⊗ x_i x_iᵀ,   S_i = diag(p_i) − p_i p_iᵀ.

S_i takes the vector of ones to 0 and H takes whatever no x_i spans to 0, so H acts in (C − 1)·r dimensions, r the rank
of the inputs, and is inverted exactly there: with P far above N, everything that depends on P is one factorisation of
the [N, D] inputs. All of it is float64.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from scipy.linalg import helmert
from torch import Tensor
from tqdm import trange


class Points(NamedTuple):
    """Inputs [N, D] float64 and their classes [N], whole numbers from 0."""

    inputs: Tensor
    labels: Tensor


def fit(train: Points, classes: int, decay: float, tolerance: float = 1e-10) -> Tensor:
    """The weights [C, D] at the minimum, by L-BFGS and a last step of Newton's: a gradient of at most `tolerance`.

    Raises ValueError for labels outside 0 … classes − 1 or a decay that is not above 0 (separable points have no
    minimum without one), and RuntimeError where the minimum is not reached.
    """
    basis = _Basis(train, classes)
    return basis.weights(_minimise(basis, train.labels, classes, decay, tolerance))


def losses(weights: Tensor, points: Points) -> Tensor:
    """The cross-entropy of each point, [..., N], for weights [..., C, D]."""
    logits = points.inputs @ weights.mT
    return logits.logsumexp(-1) - logits.gather(-1, points.labels.expand(logits.shape[:-1])[..., None])[..., 0]


def gradients(weights: Tensor, points: Points) -> Tensor:
    """The gradient of each point's cross-entropy, (p − e_y) ⊗ x, as rows [N, P]."""
    return torch.einsum("nc,nd->ncd", _residuals(weights, points), points.inputs).flatten(1)


def exact_influence(weights: Tensor, train: Points, val: Points, damping: float) -> Tensor:
    """∇L(val)ᵀ (H + damping·I)⁻¹ ∇L(train), exactly.

    Parameters
    ----------
    weights : Tensor
        [C, D], as `fit` gives them.
    train, val : Points
        N and M points.
    damping : float
        With that of `fit`'s decay, the matrix is the Hessian of what `fit` minimises, and score/N is, to first order,
        the change of a validation loss when the training point is left out.

    Returns
    -------
    Tensor
        Scores [M, N], float64, higher = more influential.
    """
    basis = _Basis(train, len(weights))
    V = basis.coordinates(_residuals(weights, val), val.inputs)
    G = basis.coordinates(_residuals(weights, train), train.inputs)
    return V @ torch.cholesky_solve(G.T, basis.factor(train.inputs @ weights.T, damping))


def lissa(weights: Tensor, train: Points, val: Points, damping: float, iterations: int) -> Tensor:
    """LiSSA with the Hessian, done directly: r ← v + (I − α (H + damping·I)) r in all P dimensions; scores [M, N].

    The step α is the inverse of a bound on the largest eigenvalue, λ_max(XXᵀ)/(2N) + damping (no S_i has one above
    1/2), so the recursion converges to `exact_influence`.
    """
    x = train.inputs
    alpha = 1 / (torch.linalg.eigvalsh(x @ x.T)[-1] / (2 * len(x)) + damping)
    p = (x @ weights.T).softmax(1)
    v = torch.einsum("mc,md->mcd", _residuals(weights, val), val.inputs)
    r = v
    for _ in range(iterations):
        u = x @ r.mT  # [M, N, C]
        Hr = (p * u - p * (p * u).sum(-1, keepdim=True)).mT @ x / len(x)
        r = v + r - alpha * (Hr + damping * r)
    return alpha * torch.einsum("nc,mnc->mn", _residuals(weights, train), x @ r.mT)


def dense_influence(weights: Tensor, train: Points, val: Points, damping: float) -> Tensor:
    """The same as `exact_influence` the dense way: solved with `dense_hessian`, in 16·P² bytes of memory."""
    H = dense_hessian(weights, train)
    H.diagonal().add_(damping)
    return gradients(weights, val) @ torch.cholesky_solve(gradients(weights, train).T, torch.linalg.cholesky(H))


def dense_hessian(weights: Tensor, train: Points) -> Tensor:
    """H written out, [P, P]: the Hessian of the mean cross-entropy, without the decay."""
    x = train.inputs
    p = (x @ weights.T).softmax(1)
    S = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    H = torch.empty(*weights.shape, *weights.shape, dtype=x.dtype)
    for c, row in enumerate(S.permute(1, 2, 0)):
        for d, s in enumerate(row):
            H[c, :, d] = x.T * s @ x / len(x)
    return H.view(weights.numel(), weights.numel())


def leave_one_out(train: Points, classes: int, decay: float, tolerance: float = 1e-10, progress: str = "") -> Tensor:
    """The weights [N, C, D] after retraining to convergence without each of the training points.

    The sum loses a term and stays divided by N: the point loses the weight 1/N. With `progress`, a bar of
    that name. Raises as `fit` does.
    """
    basis = _Basis(train, classes)
    start = _minimise(basis, train.labels, classes, decay, tolerance)
    minima = []
    for k in trange(len(train.labels), desc=progress, unit="retraining", disable=not progress):
        minima.append(_minimise(basis, train.labels, classes, decay, tolerance, without=k, start=start))
    return basis.weights(torch.stack(minima))


def descend(
    train: Points, classes: int, decay: float, steps: Sequence[int], progress: str = ""
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each of `steps`, in growing order: the weights after so many steps of gradient descent from zero.

    [C, D] trained on all points, and [N, C, D] without each.

    All are trained side by side, at a rate of 1/(λ_max(XXᵀ)/(2N) + decay), at which descent never overshoots.
    """
    basis = _Basis(train, classes)
    T, n = basis.T, len(train.labels)
    rate = 1 / (torch.linalg.matrix_norm(T, 2) ** 2 / (2 * n) + decay)
    included = torch.cat([torch.ones(1, n), 1 - torch.eye(n)]).to(T)[..., None]  # [1 + N, N, 1]
    target = torch.nn.functional.one_hot(train.labels, classes).to(T)
    W = T.new_zeros(1 + n, classes, T.shape[1])
    for step in trange(1, 1 + max(steps), desc=progress, unit="step", disable=not progress):
        residual = ((T @ W.mT).softmax(-1) - target) * included
        W = W - rate * (residual.mT @ T / n + decay * W)
        if step in steps:
            weights = W @ basis.Q.T
            yield weights[0], weights[1:]


class _Basis:
    """The dimensions that a softmax regression on some inputs can move in: E [C, C−1] ⊗ Q [D, r].

    E is an orthonormal basis of what is at right angles to the vector of ones, Q of the span of the inputs;
    T = X Q [N, r] are the inputs in it. Points trained with weight decay never leave it, nor do their gradients.
    """

    def __init__(self, train: Points, classes: int):
        if not 0 <= int(train.labels.min()) <= int(train.labels.max()) < classes:
            raise ValueError(f"labels: must be 0 to {classes - 1}, or give more classes")
        self.E = torch.from_numpy(helmert(classes).T.copy())
        self.Q, R = torch.linalg.qr(train.inputs.double().T)
        self.T = R.T

    def coordinates(self, residuals: Tensor, inputs: Tensor) -> Tensor:
        """Gradients r ⊗ x in this basis, [n, (C−1)·r]; what lies outside it is left out."""
        return torch.einsum("na,nr->nar", residuals @ self.E, inputs @ self.Q).flatten(1)

    def weights(self, coordinates: Tensor) -> Tensor:
        """[..., (C−1)·r] back to [..., C, D]."""
        return self.E @ coordinates.unflatten(-1, (self.E.shape[1], -1)) @ self.Q.T

    def factor(self, logits: Tensor, damping: float, share: Tensor | None = None) -> Tensor:
        """The Cholesky factor of H + damping·I in this basis, from the logits [N, C] of the points.

        `share` [N] is what each point counts in the mean, 1/N by default.
        """
        if not 0 < damping < math.inf:
            raise ValueError(f"damping: {damping}; must be a finite number above 0")
        p = logits.softmax(1)
        S = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        S = self.E.T @ S @ self.E  # [N, C−1, C−1]
        share = torch.full_like(p[:, 0], 1 / len(p)) if share is None else share
        T = (S * share[:, None, None]).permute(1, 2, 0)[..., None] * self.T  # [C−1, C−1, N, r]
        H = (T.mT @ self.T).transpose(1, 2).flatten(2).flatten(0, 1)  # from [a, b, r, s] to [(a, r), (b, s)]
        H.diagonal().add_(damping)
        return torch.linalg.cholesky(H)


def _residuals(weights: Tensor, points: Points) -> Tensor:
    """p − e_y, [N, C]: the gradient of the cross-entropy at the logits."""
    target = torch.nn.functional.one_hot(points.labels, len(weights))
    return (points.inputs @ weights.T).softmax(1) - target


def _minimise(
    basis: _Basis,
    labels: Tensor,
    classes: int,
    decay: float,
    tolerance: float,
    without: int | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """The minimum in the basis's coordinates, [(C−1)·r], of the points but `without`."""
    if not 0 < decay < math.inf:
        raise ValueError(f"decay: {decay}; must be a finite number above 0")
    T, E, target = basis.T, basis.E, torch.nn.functional.one_hot(labels, classes)
    share = torch.full((len(labels),), 1 / len(labels), dtype=T.dtype)
    if without is not None:
        share[without] = 0

    def logits(w: Tensor) -> Tensor:
        return T @ w.view(E.shape[1], -1).T @ E.T

    def objective(w: Tensor) -> tuple[Tensor, Tensor]:
        z = logits(w)
        loss = share @ (z.logsumexp(1) - z.gather(1, labels[:, None])[:, 0]) + decay / 2 * w @ w
        residuals = share[:, None] * (z.softmax(1) - target)
        return loss, (E.T @ residuals.T @ T).flatten() + decay * w

    def closure() -> Tensor:
        loss, w.grad = objective(w)
        return loss

    w = torch.zeros(E.shape[1] * T.shape[1], dtype=T.dtype) if start is None else start.clone()
    torch.optim.LBFGS(
        [w], max_iter=10_000, tolerance_grad=1e-4, tolerance_change=0, line_search_fn="strong_wolfe"
    ).step(closure)
    for _ in range(20):  # near the minimum L-BFGS compares losses that differ by noise; Newton needs none of them
        gradient = objective(w)[1]
        if gradient.norm() <= tolerance:
            return w
        w = w - torch.cholesky_solve(gradient[:, None], basis.factor(logits(w), decay, share))[:, 0]
    raise RuntimeError(f"fit: the gradient is still {gradient.norm():.1e}, tolerance {tolerance:.0e}; raise the decay")
