"""SOURCE: the derivative of the last parameters by an example's weight, training unrolled in a few segments."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ifcore.gram import Gram


def source(gram: Gram, sizes: Sequence[int], rates: Sequence[float]) -> Tensor:
    """SOURCE: gradient descent unrolled, with Hessian and gradients constant in each of a few segments of it.

    Σ_b Σ_l v_l f_l(H_l) ḡ_lᵀ with f_l(σ) = (1 − exp(−rate_l σ))/σ, where H_l = mean_t G_tᵀG_t/N and ḡ_l = mean_t G_t
    over the checkpoints t of segment l; v_l is the validation gradient carried back from the end of training,
    v_{l−1} = v_l exp(−rate_l H_l). It is minus the paper's derivative, without its factor 1/N. No damping is needed:
    what training hasn't moved yet counts little.

    With R the rows of the segment's checkpoints, n of them, H_l = RᵀR/n, so that f(H_l) Rᵀ = Rᵀ f(RRᵀ/n) and
    v exp(−rate H_l) = v − v Rᵀ f(RRᵀ/n) R/n: the Gram matrix of all rows is all that is needed. Its empirical Fisher
    stands in for the Gauss-Newton matrix, exactly, where the paper takes EK-FAC.

    Parameters
    ----------
    gram : Gram
        Of the T·N training gradients of all checkpoints, example i at checkpoint t in row t·N + i, first checkpoint
        first, and of the validation gradients at the last one. With weights w, as `checkpoints.preconditioner` makes
        them, it is the SOURCE of a descent preconditioned by diag(w) all the way: H_l is then the preconditioned
        Fisher. The result is a sum over blocks, so that a Gram of one block after another does with less memory.
    sizes : sequence of int
        How many of the T checkpoints each segment has.
    rates : sequence of float
        The sum of the learning rates of each segment's steps; infinity means that it converged.

    Returns
    -------
    Tensor
        Scores [M, N], float64.

    Raises
    ------
    ValueError
        Where the rows are not those of the checkpoints, and for rates that are not one a segment or below 0.

    References
    ----------
    Bae et al. 2024, arXiv 2405.12186, section 3.2.
    """
    rows, checkpoints = gram.K.shape[1], sum(sizes)
    if not sizes or min(sizes) < 1 or rows % checkpoints:
        raise ValueError(f"sizes: {list(sizes)}, for {rows} rows; give the same examples at every checkpoint")
    if len(rates) != len(sizes) or not all(rate >= 0 for rate in rates):
        raise ValueError(f"rates: {list(rates)}; give one for each of the {len(sizes)} segments, 0 or more")
    N = rows // checkpoints
    scores = gram.C.new_zeros(gram.C.shape[1], N)
    for K, C in zip(gram.K, gram.C, strict=True):
        products = C.clone()  # v_l · g of every row g before and in segment l, [M, T·N]
        end = rows
        for size, rate in zip(reversed(sizes), reversed(rates), strict=True):
            n = size * N
            start = end - n
            here = slice(start, end)
            moved = products[:, here] @ _function(K[here, here], rate)  # v_l Rᵀ f(RRᵀ/n)
            scores += moved.reshape(len(moved), -1, N).mean(1)
            products[:, :start] -= moved @ K[here, :start] / n
            end = start
    return scores


def _function(K: Tensor, rate: float) -> Tensor:
    """f(K/n), [n, n], of one segment's Gram matrix."""
    sigma, U = torch.linalg.eigh(K / len(K))
    rounding = len(K) * torch.finfo(K.dtype).eps * sigma[-1].clamp(min=0)
    # An eigenvalue of 0 belongs to no gradient: v Rᵀ has rounding alone there, which f(0) = rate must not blow up.
    at_zero = rate if rate * rounding < 1e-8 else 0.0
    f = torch.where(sigma > rounding, -torch.expm1(-rate * sigma) / sigma, at_zero)
    return U * f @ U.T
