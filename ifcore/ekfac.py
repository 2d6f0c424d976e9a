"""EK-FAC: influence with the Fisher of each linear map in a Kronecker-factored eigenbasis (Grosse et al. 2023)."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ifcore import gradients, trainable
from ifcore.batches import Batch
from ifcore.gradients import Factors
from ifcore.gram import check_damping


def ekfac(
    train: Mapping[str, Tensor],
    val: Mapping[str, Tensor],
    factors: Mapping[str, tuple[Tensor, Tensor]],
    damping: float = 0.1,
) -> Tensor:
    """Scores [M, N] of gradients [N, P_b] and [M, P_b] of linear maps; `factors` are those of the training examples.

    In their eigenbases Q_x, Q_δ a gradient is G̃ = Q_δᵀ G Q_x, the empirical Fisher nearly diagonal, with
    Λ = mean_i G̃_i² on the diagonal: Σ_b Σ Ṽ ⊙ G̃ / (Λ_b + λ_b), λ_b = damping · mean(Λ_b) (Grosse et al. 2023, arXiv
    2308.03296, section 2.2; George et al. 2018). That mean is mean(G_b²), so the damping is that of `influence`. A
    block without gradients adds nothing. It takes the memory of all factors and, in float64, of one block at a time.
    Raises ValueError for a block without factors (one that is no linear map), gradients that are not finite, and
    damping that isn't above 0.
    """
    check_damping(damping)
    total: Any = 0.0
    for block in train:
        if block not in factors:
            raise ValueError(f"factors: none of {block}; EK-FAC knows linear maps alone, choose another method")
        bases = [torch.linalg.eigh(factor.double())[1] for factor in factors[block]]
        G, V = (_rotated(part[block][:, :], *bases) for part in (train, val))
        if not (G.isfinite().all() and V.isfinite().all()):
            raise ValueError(f"{block}: gradients that are not finite; lower the learning rate or use float32")
        fisher = G.square().mean(0)
        lam = damping * fisher.mean()
        total = total + ((V / (fisher + lam)) @ G.T if lam > 0 else G.new_zeros(len(V), len(G)))
    return total


def gather_factors(
    model: nn.Module, batches: Sequence[Batch], progress: str = "", blocks: Collection[str] | None = None
) -> Factors:
    """The factors of some blocks, by default of all, from a pass over the training examples."""
    factors = Factors(blocks)
    deque(gradients.stream(model, batches, progress, factors), maxlen=0)
    return factors


def block_groups(model: nn.Module, budget: int) -> list[list[str]]:
    """The blocks, as many at a time as have factors within `budget` bytes; one, if it takes more by itself.

    Raises ValueError where the adapter trains anything that is no linear map.
    """
    linears = trainable.adapted_linears(model)
    if others := trainable.trainable_parameters(model).keys() - linears.keys():
        raise ValueError(f"methods: ekfac knows linear maps alone, and the adapter trains {min(others)}; leave it out")
    groups: list[list[str]] = []
    left = 0
    for block, linear in linears.items():
        size = 4 * (linear.in_features**2 + linear.out_features**2)
        if size > left:
            groups.append([])
            left = budget
        groups[-1].append(block)
        left -= size
    return groups


def _rotated(rows: Tensor, Q_x: Tensor, Q_delta: Tensor) -> Tensor:
    """Q_δᵀ G Q_x of each row [out · in], [rows, out · in] in float64."""
    G = rows.double().reshape(len(rows), len(Q_delta), len(Q_x))
    return (Q_delta.T @ G @ Q_x).flatten(1)
