"""Influence scores [M, N] from Gram matrices: higher = more influential.

A score is minus the change of a validation loss when a training example gains weight, so a positive one means that the
example lowers it. `gradsim` leaves the Hessian out; `exact` inverts the damped empirical Fisher of
each block, H_b + λ_b I with H_b = G_bᵀG_b/N and λ_b = damping · mean(G_b²); `datainf` and `lissa` approximate
that inverse. `cosine` and `relatif` are such scores without the length of what is compared, `tracin` sums over
checkpoints. A block whose training gradients are all zero (lora_A while lora_B is zero) adds nothing.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from ifcore.gram import Gram

LANCZOS = 200  # training examples from which on one eigenvalue takes less than all


def gradsim(gram: Gram) -> Tensor:
    """Gradient similarity, Σ_b C_b: TracIn without its sum over checkpoints.

    Returns
    -------
    Tensor
        Scores [M, N], the inner products of whole gradients.

    References
    ----------
    Charpiat et al. 2019; Pruthi et al. 2020, arXiv 2002.08484.
    """
    return gram.C.sum(0)


def cosine(gram: Gram) -> Tensor:
    """The cosine of whole gradients, Σ_b C_b over the two norms.

    Returns
    -------
    Tensor
        Scores [M, N]; 0 where either gradient is zero.

    References
    ----------
    Xia et al. 2024, arXiv 2402.04333.
    """
    return divide_by_lengths(*cosine_totals(gram))


def tracin(products: Sequence[Tensor], rates: Sequence[float]) -> Tensor:
    """TracIn over checkpoints t, Σ_t η_t · products_t.

    Parameters
    ----------
    products : sequence of Tensor
        `gradsim` [M, N] at each checkpoint.
    rates : sequence of float
        The learning rate η_t at each.

    Returns
    -------
    Tensor
        Scores [M, N].

    Raises
    ------
    ValueError
        Where there is no checkpoint, not one rate each, or the shapes differ.

    References
    ----------
    Pruthi et al. 2020, arXiv 2002.08484, TracInCP.
    """
    if not products or len(products) != len(rates):
        raise ValueError(f"rates: {len(rates)} for {len(products)} products; give one for each checkpoint, 1 or more")
    if len(shapes := {tuple(scores.shape) for scores in products}) > 1:
        raise ValueError(f"products: shapes {sorted(shapes)}; give the same examples at every checkpoint")
    total = rates[0] * products[0]
    for rate, scores in zip(rates[1:], products[1:], strict=True):
        total = total + rate * scores
    return total


def datainf(gram: Gram, damping: float = 0.1) -> Tensor:
    """DataInf: the mean of the inverses in place of the inverse of the mean.

    Σ_b V_b [(1/N) Σ_i (g_i g_iᵀ + λ_b I)⁻¹] G_bᵀ = Σ_b (1/λ_b) [C_b − (1/N) (C_b ⊘ (λ_b + diag K_b)) K_b]

    Parameters
    ----------
    gram : Gram
    damping : float
        λ_b relative to the mean squared gradient of a block.

    Returns
    -------
    Tensor
        Scores [M, N].

    Raises
    ------
    ValueError
        For a damping that is not a finite number above 0.

    References
    ----------
    Kwon et al. 2023, arXiv 2310.00902, eq. 5.
    """

    def block(K: Tensor, C: Tensor, lam: Tensor) -> Tensor:
        return (C - C / (lam + K.diagonal()) @ K / len(K)) / lam

    return _sum(gram, damping, block)


def exact(gram: Gram, damping: float = 0.1) -> Tensor:
    """The damped empirical Fisher of each block inverted exactly, by the Woodbury identity.

    Σ_b V_b (G_bᵀG_b/N + λ_b I)⁻¹ G_bᵀ = Σ_b (1/λ_b) [C_b − C_b (K_b + N λ_b I)⁻¹ K_b]

    Parameters, result and errors are those of `datainf`.
    """

    def block(K: Tensor, C: Tensor, lam: Tensor) -> Tensor:
        N = len(K)
        # (K + NλI)⁻¹ K = I − Nλ (K + NλI)⁻¹ leaves N C (K + NλI)⁻¹, without the cancellation of C − C(…)⁻¹K.
        shifted = K + N * lam * torch.eye(N, dtype=K.dtype, device=K.device)
        return N * torch.cholesky_solve(C.T, torch.linalg.cholesky(shifted)).T

    return _sum(gram, damping, block)


def relatif(gram: Gram, damping: float = 0.1) -> Tensor:
    """θ-RelatIF: `exact` relative to how far a training example moves the parameters.

    exact / ‖(H + λI)⁻¹ g_i‖, the norm over all blocks: an example that matters everywhere because its gradient is large
    no longer comes first. 0 where g_i is zero. Parameters, result and errors are those of `datainf`.

    References
    ----------
    Barshan, Brunet, Dziugaite 2020, arXiv 2003.11630.
    """
    return divide_by_lengths(*relatif_totals(gram, damping))


def lissa(gram: Gram, iterations: int = 10, damping: float = 0.1) -> Tensor:
    """LiSSA: steps of r ← v + (I − α_b (H_b + λ_b I)) r from r = v, a truncated Neumann series.

    The iterate stays in the span of v and the rows of G_b, so a scalar a and N coefficients c hold it:
    r = a v + G_bᵀ c, from a = 1 and c = 0. The step is α_b = 1/(λ_max(K_b)/N + λ_b), half of where divergence
    starts; the limit is `exact`, and 0 iterations are GradSim with block b weighted by α_b.

    Parameters
    ----------
    gram : Gram
    iterations : int
        How many steps, 0 or more.
    damping : float
        λ_b relative to the mean squared gradient of a block.

    Returns
    -------
    Tensor
        Scores Σ_b α_b r·g_k, [M, N].

    Raises
    ------
    ValueError
        For a wrong number of iterations or damping.

    References
    ----------
    Agarwal et al. 2017, arXiv 1602.03943.
    """
    if iterations < 0:
        raise ValueError(f"iterations: {iterations}; must be 0 or more")

    def block(K: Tensor, C: Tensor, lam: Tensor) -> Tensor:
        N = len(K)
        alpha = 1 / (_largest(K) / N + lam)
        a, c = torch.ones_like(lam), torch.zeros_like(C)
        for _ in range(iterations):
            a, c = 1 + (1 - alpha * lam) * a, (1 - alpha * lam) * c - alpha / N * (a * C + c @ K)
        return alpha * (a * C + c @ K)

    return _sum(gram, damping, block)


def cosine_totals(gram: Gram) -> tuple[Tensor, Tensor, Tensor]:
    """What `cosine` divides: inner products [M, N] and squared norms [N], [M], each a sum over blocks."""
    return gradsim(gram), gram.K.diagonal(dim1=1, dim2=2).sum(0), gram.val_norms.sum(0)


def relatif_totals(gram: Gram, damping: float = 0.1) -> tuple[Tensor, Tensor]:
    """What `relatif` divides: `exact` [M, N] and ‖(H + λI)⁻¹ g_i‖² [N], each a sum over blocks."""

    def block(K: Tensor, _: Tensor, lam: Tensor) -> Tensor:
        # With K = U S Uᵀ, g_iᵀ (H + λI)⁻² g_i = Σ_j U_ij² S_j / (S_j/N + λ)²: no term is negative, nothing cancels.
        S, U = torch.linalg.eigh(K)
        S = S.masked_fill(S < len(K) * torch.finfo(S.dtype).eps * S[-1], 0)  # rounding, which 1/λ² would make large
        return U.square() @ (S / (S / len(K) + lam) ** 2)

    return exact(gram, damping), _sum(gram, damping, block, gram.K[0, 0])


def divide_by_lengths(scores: Tensor, train: Tensor, val: Tensor | None = None) -> Tensor:
    """Scores [M, N] over the roots of squared lengths [N], [M]; 0 where a length is 0, as the score is already."""
    lengths = (train if val is None else val.outer(train)).sqrt()
    return scores / lengths.masked_fill(lengths == 0, 1)


def _largest(K: Tensor) -> Tensor:
    """λ_max(K). Of a large matrix by Lanczos iterations, since all eigenvalues would take as long as all else.

    They end where the residual is 10⁻⁸ of the eigenvalue, which itself is then off by about the square of that.
    """
    if len(K) >= LANCZOS and K.device.type == "cpu":
        # Products are torch's: threads of two libraries that wait for each other's make all that follows slower.
        product = LinearOperator(K.shape, lambda v: (K @ torch.from_numpy(v.ravel())).numpy(), dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(len(K))
        with suppress(ArpackNoConvergence):
            (largest,) = eigsh(product, 1, which="LA", v0=start, tol=1e-8, return_eigenvectors=False)
            return K.new_tensor(largest)
    return torch.linalg.eigvalsh(K)[-1]


def _sum(
    gram: Gram, damping: float, block: Callable[[Tensor, Tensor, Tensor], Tensor], like: Tensor | None = None
) -> Tensor:
    """Σ_b block(K_b, C_b, λ_b), one block after another so that memory holds the workings of one only.

    Of the shape of `like`, by default [M, N].
    """
    total = torch.zeros_like(gram.C[0] if like is None else like)
    for K, C, lam in zip(gram.K, gram.C, gram.damping(damping), strict=True):
        if lam > 0:  # λ_b = 0 where G_b = 0: under any damping its scores are 0, but the formulas say 0/0
            total += block(K, C, lam)
    return total
