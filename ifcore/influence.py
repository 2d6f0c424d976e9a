"""Influence scores [M, N] from Gram matrices: higher = more influential, minus the paper's equation 3.

Equation 3 is the change of a validation loss when a training example gains weight, so a positive score means
that the example lowers it. `gradsim` leaves the Hessian out; `exact` inverts the damped empirical Fisher of
each block, H_b + λ_b I with H_b = G_bᵀG_b/N and λ_b = damping · mean(G_b²); `datainf` and `lissa` approximate
that inverse. `cosine` and `relatif` are such scores without the length of what is compared, `tracin` sums over
checkpoints. A block whose training gradients are all zero (lora_A while lora_B is zero) adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import numpy as np
import torch
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh
from torch import Tensor

from ifcore.gram import Gram

LANCZOS = 200  # training examples from which on one eigenvalue takes less than all


def gradsim(gram: Gram) -> Tensor:
    """Gradient similarity, Σ_b C_b: scores [M, N] (Charpiat et al. 2019, Pruthi et al. 2020).

    The inner product of whole gradients at one checkpoint: TracIn without its sum over checkpoints.
    """
    return gram.C.sum(0)


def cosine(gram: Gram) -> Tensor:
    """The cosine of whole gradients, Σ_b C_b over the two norms: scores [M, N] as in LESS (Xia et al. 2024).

    0 where either gradient is zero.
    """
    lengths = gram.val_norms.sum(0).outer(gram.K.diagonal(dim1=1, dim2=2).sum(0)).sqrt()
    return _over(gradsim(gram), lengths)


def tracin(products: Sequence[Tensor], rates: Sequence[float]) -> Tensor:
    """TracIn, Σ_t η_t · products_t: scores [M, N] (Pruthi et al. 2020, arXiv 2002.08484, TracInCP).

    `products` holds `gradsim` [M, N] at each checkpoint t, `rates` the learning rate η_t there. Raises ValueError where
    there is no checkpoint, not one rate each, or they are of different shapes.
    """
    if not products or len(products) != len(rates):
        raise ValueError(f"rates: {len(rates)} for {len(products)} products; give one for each checkpoint, 1 or more")
    if len(shapes := {tuple(each.shape) for each in products}) > 1:
        raise ValueError(f"products: shapes {sorted(shapes)}; give the same examples at every checkpoint")
    return sum(rate * each for rate, each in zip(rates, products, strict=True))


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


def relatif(gram: Gram, damping: float = 0.1) -> Tensor:
    """θ-RelatIF: `exact` relative to how far a training example moves the parameters, scores [M, N].

    exact / ‖(H + λI)⁻¹ g_i‖, the norm over all blocks (Barshan, Brunet, Dziugaite 2020, arXiv 2003.11630): an
    example that matters everywhere because its gradient is large no longer comes first. 0 where g_i is zero.
    """

    return _over(exact(gram, damping), _moved(gram, damping).sqrt())


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
        alpha = 1 / (_largest(K) / N + lam)
        a, c = torch.ones_like(lam), torch.zeros_like(C)
        for _ in range(iterations):
            a, c = 1 + (1 - alpha * lam) * a, (1 - alpha * lam) * c - alpha / N * (a * C + c @ K)
        return alpha * (a * C + c @ K)

    return _sum(gram, damping, block)


def summed(
    grams: Iterable[Gram], methods: Sequence[str], damping: float = 0.1, iterations: int = 10
) -> dict[str, Tensor]:
    """Method of METHODS -> scores [M, N] from Gram matrices a block at a time, as `Gram.by_block` yields them.

    The same as of all blocks at once, but for rounding.
    """
    options = {name: {"damping": damping} for name in ("datainf", "exact", "relatif")}
    options["lissa"] = {"damping": damping, "iterations": iterations}
    parts: dict[str, Tensor] = {}
    for gram in grams:
        for method in methods:
            plain = {"cosine": "gradsim", "relatif": "exact"}.get(method, method)
            found = {method: METHODS[plain](gram, **options.get(method, {}))}
            if method == "cosine":
                found |= {"train": gram.K.diagonal(dim1=1, dim2=2).sum(0), "val": gram.val_norms.sum(0)}
            elif method == "relatif":
                found["moved"] = _moved(gram, damping)
            parts |= {name: parts[name] + value if name in parts else value for name, value in found.items()}
    if "cosine" in methods:
        parts["cosine"] = _over(parts["cosine"], parts["val"].outer(parts["train"]).sqrt())
    if "relatif" in methods:
        parts["relatif"] = _over(parts["relatif"], parts["moved"].sqrt())
    return {method: parts[method] for method in methods}


METHODS: dict[str, Callable[..., Tensor]] = {
    "gradsim": gradsim,
    "cosine": cosine,
    "datainf": datainf,
    "lissa": lissa,
    "exact": exact,
    "relatif": relatif,
}


def _moved(gram: Gram, damping: float) -> Tensor:
    """How far each training example moves the parameters, ‖(H + λI)⁻¹ g_i‖² over all blocks, [N]."""

    def block(K: Tensor, _: Tensor, lam: Tensor) -> Tensor:
        # With K = U S Uᵀ, g_iᵀ (H + λI)⁻² g_i = Σ_j U_ij² S_j / (S_j/N + λ)²: no term is negative, nothing cancels.
        S, U = torch.linalg.eigh(K)
        S = S.masked_fill(S < len(K) * torch.finfo(S.dtype).eps * S[-1], 0)  # rounding, which 1/λ² would make large
        return U.square() @ (S / (S / len(K) + lam) ** 2)

    return _sum(gram, damping, block, gram.K[0, 0])


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


def _over(scores: Tensor, lengths: Tensor) -> Tensor:
    """scores / lengths, and 0 where a length is 0: the score of a zero gradient is 0 already."""
    return scores / lengths.masked_fill(lengths == 0, 1)


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
