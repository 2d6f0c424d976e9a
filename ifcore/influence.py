"""Influence scores [M, N] from Gram matrices: higher = more influential, minus the paper's equation 3.

Equation 3 is the change of a validation loss when a training example gains weight, so a positive score means
that the example lowers it. `gradsim` leaves the Hessian out; `exact` inverts the damped empirical Fisher of
each block, H_b + λ_b I with H_b = G_bᵀG_b/N and λ_b = damping · mean(G_b²); `datainf` and `lissa` approximate
that inverse. A block whose training gradients are all zero (lora_A while lora_B is zero) adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ifcore.gram import Gram


def gradsim(gram: Gram) -> Tensor:
    """Gradient similarity, Σ_b C_b: scores [M, N] (Charpiat et al. 2019, Pruthi et al. 2020).

    The inner product of whole gradients at one checkpoint: TracIn without its sum over checkpoints.
    """
    return gram.C.sum(0)


def datainf(gram: Gram, damping: float = 0.1) -> Tensor:
    """DataInf: the mean of the inverses in place of the inverse of the mean, scores [M, N].

    Σ_b V_b [(1/N) Σ_i (g_i g_iᵀ + λ_b I)⁻¹] G_bᵀ = Σ_b (1/λ_b) [C_b − (1/N) (C_b ⊘ (λ_b + diag K_b)) K_b]
    (Kwon et al. 2023, arXiv 2310.00902, eq. 5).
    """

    def block(K: Tensor, C: Tensor, lam: Tensor) -> Tensor:
        return (C - C / (lam + K.diagonal()) @ K / len(K)) / lam

    return _sum(gram, damping, block)


def exact(gram: Gram, damping: float = 0.1) -> Tensor:
    """The damped empirical Fisher of each block inverted exactly, scores [M, N], by the Woodbury identity.

    Σ_b V_b (G_bᵀG_b/N + λ_b I)⁻¹ G_bᵀ = Σ_b (1/λ_b) [C_b − C_b (K_b + N λ_b I)⁻¹ K_b]
    """

    def block(K: Tensor, C: Tensor, lam: Tensor) -> Tensor:
        N = len(K)
        # (K + NλI)⁻¹ K = I − Nλ (K + NλI)⁻¹ leaves N C (K + NλI)⁻¹, without the cancellation of C − C(…)⁻¹K.
        shifted = K + N * lam * torch.eye(N, dtype=K.dtype, device=K.device)
        return N * torch.cholesky_solve(C.T, torch.linalg.cholesky(shifted)).T

    return _sum(gram, damping, block)


def lissa(gram: Gram, iterations: int = 10, damping: float = 0.1) -> Tensor:
    """LiSSA: `iterations` steps of r ← v + (I − α_b (H_b + λ_b I)) r from r = v, scores Σ_b α_b r·g_k [M, N].

    A truncated Neumann series (Agarwal et al. 2017); 0 iterations are GradSim with block b weighted by α_b.
    The iterate stays in the span of v and the rows of G_b, so a scalar a and N coefficients c hold it:
    r = a v + G_bᵀ c, from a = 1 and c = 0. The step is α_b = 1/(λ_max(K_b)/N + λ_b), half of where divergence
    starts; the limit is `exact`.
    """
    if iterations < 0:
        raise ValueError(f"iterations: {iterations}; must be 0 or more")

    def block(K: Tensor, C: Tensor, lam: Tensor) -> Tensor:
        N = len(K)
        alpha = 1 / (torch.linalg.eigvalsh(K)[-1] / N + lam)
        a, c = torch.ones_like(lam), torch.zeros_like(C)
        for _ in range(iterations):
            a, c = 1 + (1 - alpha * lam) * a, (1 - alpha * lam) * c - alpha / N * (a * C + c @ K)
        return alpha * (a * C + c @ K)

    return _sum(gram, damping, block)


METHODS: dict[str, Callable[..., Tensor]] = {
    "gradsim": gradsim,
    "datainf": datainf,
    "lissa": lissa,
    "exact": exact,
}


def _sum(gram: Gram, damping: float, block: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
    """Σ_b block(K_b, C_b, λ_b), one block after another so that memory holds the workings of one only."""
    total = torch.zeros_like(gram.C[0])
    for K, C, lam in zip(gram.K, gram.C, gram.damping(damping), strict=True):
        if lam > 0:  # λ_b = 0 where G_b = 0: under any damping its scores are 0, but the formulas say 0/0
            total += block(K, C, lam)
    return total
