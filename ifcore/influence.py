"""Influence scores from Gram matrices: higher = more influential, that is minus the paper's equation 3.

`gradsim` leaves the Hessian out; `exact` inverts the damped empirical Fisher of each block, `datainf` and `lissa`
approximate that inverse. A block whose training gradients are all zero (lora_A of an untouched adapter) adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ifcore.gram import Gram


def gradsim(gram: Gram) -> Tensor:
    """Gradient similarity, Σ_b C_b: scores [M, N] (Charpiat et al. 2019, Pruthi et al. 2020)."""
    return gram.C.sum(0)


def datainf(gram: Gram, damping: float = 0.1) -> Tensor:
    """DataInf: the mean of the inverses in place of the inverse of the mean, scores [M, N] (Kwon et al. 2023, eq. 5).

    Σ_b (1/λ_b) [C_b − (1/N) (C_b ⊘ (λ_b + diag K_b)) K_b]
    """
    return _sum(gram, ((C - C / (lam + K.diagonal()) @ K / len(K)) / lam for K, C, lam in _blocks(gram, damping)))


def exact(gram: Gram, damping: float = 0.1) -> Tensor:
    """The damped empirical Fisher of each block inverted exactly, scores [M, N], by the Woodbury identity.

    Σ_b V_b (G_bᵀG_b/N + λ_b I)⁻¹ G_bᵀ = Σ_b (1/λ_b) [C_b − C_b (K_b + N λ_b I)⁻¹ K_b]
    """

    def block(K: Tensor, C: Tensor, lam: Tensor) -> Tensor:
        N = len(K)
        # (K + NλI)⁻¹ K = I − Nλ (K + NλI)⁻¹: what is left is free of the cancellation in C − C (…)⁻¹ K.
        shifted = K + N * lam * torch.eye(N, dtype=K.dtype, device=K.device)
        return N * torch.cholesky_solve(C.T, torch.linalg.cholesky(shifted)).T

    return _sum(gram, (block(*each) for each in _blocks(gram, damping)))


def lissa(gram: Gram, iterations: int = 10, damping: float = 0.1) -> Tensor:
    """LiSSA: `iterations` steps of r ← v + (I − α(H_b + λ_b I)) r from r = v, scores [M, N] of α r (Agarwal et al. 2017).

    The iterate stays in the span of v and the rows of G_b, so a scalar and N coefficients hold it. The step
    α = 1/(λ_max(K_b)/N + λ_b) is half the largest that converges; the limit is `exact`.
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

    return _sum(gram, (block(*each) for each in _blocks(gram, damping)))


METHODS: dict[str, Callable[..., Tensor]] = {"gradsim": gradsim, "datainf": datainf, "lissa": lissa, "exact": exact}


def _blocks(gram: Gram, damping: float) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """K_b, C_b and λ_b of every block that has a gradient at all."""
    for K, C, lam in zip(gram.K, gram.C, gram.damping(damping), strict=True):
        if lam > 0:
            yield K, C, lam


def _sum(gram: Gram, terms: Iterator[Tensor]) -> Tensor:
    total = torch.zeros_like(gram.C[0])
    for term in terms:
        total += term
    return total
