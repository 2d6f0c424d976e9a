"""Figure 4: LiSSA on the language model after any number of iterations, as defined and as the released code has it.

In the eigenbasis of K_b a recursion r ← v + (I − A) r, with A a polynomial of H_b, multiplies every component by
f_t = Σ_{s ≤ t} (1 − a)^s, so that t iterations cost no more than one and V_b f_t(H_b) G_bᵀ = C_b f_t(K_b/N).
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ifcore.gram import Gram
from study.config import Run
from study.pipeline import steps
from study.pipeline.attributions import Attribution, change, quality
from study.schema import COLUMNS

ITERATIONS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)
SCALE = 1_000  # what the released code divides its Hessian-vector product by


def iterations(run: Run, attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Figure 4: accuracy and coverage of LiSSA on the language model after each number of iterations.

    Method `lissa` is the recursion, `lissa_released` that of the paper's released code, `exact` (iterations −1) the
    limit of the first. Metrics `accuracy_gain` and `coverage_gain`, paired by validation example: of `lissa` at 10
    iterations over 1, of `exact` over 10 iterations, of `repsim` over `exact`.
    """
    rows: list[tuple] = []
    for dataset, attribution in attributions.items():
        gram = steps.gram(attribution.folder)
        scores: dict[tuple[str, int], Any] = {
            (method, -1): attribution.scores[method] for method in ("exact", "repsim") if method in attribution.scores
        }
        for method, path in (("lissa", lissa), ("lissa_released", released)):
            paths = path(gram, ITERATIONS, run.profile.damping)
            scores |= {(method, t): array for t, array in zip(ITERATIONS, paths, strict=True) if array.isfinite().all()}
        for (method, t), array in scores.items():
            rows += [(*row, t) for row in quality(dataset, attribution, {method: array})]
        for before, after in pairwise(_STAGES):
            if {before, after} <= set(scores):
                sizes = len(attribution.train), len(attribution.val)
                for metric, gain in change(dataset, attribution, scores[before], scores[after]).items():
                    rows.append((dataset, after[0], f"{metric}_gain", *gain, *sizes, after[1]))
    return pd.DataFrame(rows, columns=[*COLUMNS, "iterations"])


def lissa(gram: Gram, iterations: Sequence[int], damping: float) -> list[Tensor]:
    """What `influence.lissa` gives after each number of iterations, scores [M, N] each: A = α_b (H_b + λ_b I)."""
    kappa, Q, lam = _spectrum(gram, damping)
    alpha = 1 / (kappa[:, -1:] + lam)
    return _path(gram, Q, alpha * (kappa + lam), alpha, iterations)


def released(gram: Gram, iterations: Sequence[int], damping: float) -> list[Tensor]:
    """The same for the paper's released code, A = (H_b − λ_b I)/1000: the damping's sign reversed, and a fixed step."""
    kappa, Q, lam = _spectrum(gram, damping)
    return _path(gram, Q, (kappa - lam) / SCALE, torch.ones_like(lam), iterations)


_STAGES = ("lissa", 1), ("lissa", 10), ("exact", -1), ("repsim", -1)


def _spectrum(gram: Gram, damping: float) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues of K_b/N in ascending order [B, N], eigenvectors [B, N, N] and λ_b [B, 1]."""
    kappa, Q = torch.linalg.eigh(gram.K / gram.K.shape[1])
    return kappa.clamp(min=0), Q, gram.damping(damping)[:, None]


def _path(gram: Gram, Q: Tensor, A: Tensor, scale: Tensor, iterations: Sequence[int]) -> list[Tensor]:
    """Σ_b scale_b C_b Q_b f_t(A_b) Q_bᵀ for each t; A [B, N] are eigenvalues, those of an all-zero block aside."""
    used = gram.damping(1.0) > 0
    A, Q, scale, CQ = A[used], Q[used], scale[used], gram.C[used] @ Q[used]
    scores = []
    for t in iterations:
        # (1 − (1 − A)^(t+1))/A without cancellation where A is small, by its limit t + 1 where it is nothing.
        small = -torch.expm1((t + 1) * torch.log1p(-A.clamp(max=0.5)))
        f = torch.where(A < 0.5, small, 1 - (1 - A) ** (t + 1)) / torch.where(A == 0, 1.0, A)
        f = torch.where(A == 0, t + 1.0, f)
        scores.append(torch.einsum("bmn,bn,bkn->mk", CQ, scale * f, Q))
    return scores
