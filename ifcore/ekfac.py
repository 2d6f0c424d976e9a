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
    fisher: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """EK-FAC: the Fisher of each linear map, diagonal in a Kronecker-factored eigenbasis.

    In the eigenbases Q_x, Q_δ of its factors a gradient is G̃ = Q_δᵀ G Q_x, and the Fisher F of the gradients `fisher`
    nearly diagonal, with Λ = mean_i F̃_i² on the diagonal: Σ_b Σ Ṽ ⊙ G̃ / (Λ_b + λ_b), λ_b = damping · mean(Λ_b). It
    takes the memory of all factors and, in float64, of one block at a time.

    Parameters
    ----------
    train, val : mapping of str to Tensor
        Block -> gradients of linear maps, [N, P_b] and [M, P_b]. A block without gradients adds nothing.
    factors : mapping of str to tuple of Tensor
        Block -> Σ_t x_t x_tᵀ and Σ_t δ_t δ_tᵀ of the examples whose Fisher it is, by `gather_factors`.
    damping : float
        λ_b relative to the mean of Λ_b; without `fisher` that is mean(G_b²), and the damping that of `influence`.
    fisher : mapping of str to Tensor, optional
        Block -> gradients [any number, P_b] of labels drawn from the model, by `sampled_labels.sample_labels`, with
        `factors` of the same; by default those of `train`, of which it is the empirical Fisher.

    Returns
    -------
    Tensor
        Scores [M, N], float64.

    Raises
    ------
    ValueError
        For a block without factors (one that is no linear map) or absent from `fisher`, gradients that are not finite,
        and a damping that isn't above 0.

    References
    ----------
    Grosse et al. 2023, arXiv 2308.03296, section 2.2; George et al. 2018, arXiv 1806.03884.
    """
    check_damping(damping)
    fisher = train if fisher is None else fisher
    total: Any = 0.0
    for block in train:
        if block not in factors:
            raise ValueError(f"factors: none of {block}; EK-FAC knows linear maps alone, choose another method")
        if block not in fisher:
            raise ValueError(f"fisher: no gradients of {block}; take them from the same model as train")
        bases = [torch.linalg.eigh(factor.double())[1] for factor in factors[block]]
        G, V = (_rotated(part[block][:, :], *bases) for part in (train, val))
        F = G if fisher is train else _rotated(fisher[block][:, :], *bases)
        if not (G.isfinite().all() and V.isfinite().all() and F.isfinite().all()):
            raise ValueError(f"{block}: gradients that are not finite; lower the learning rate or use float32")
        Lambda = F.square().mean(0)
        lam = damping * Lambda.mean()
        total = total + ((V / (Lambda + lam)) @ G.T if lam > 0 else G.new_zeros(len(V), len(G)))
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

    Raises ValueError as `check_linear` does.
    """
    check_linear(model)
    linears = trainable.adapted_linears(model)
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


def check_linear(model: nn.Module) -> None:
    """Raise ValueError where the adapter trains anything that is no linear map."""
    if others := trainable.trainable_parameters(model).keys() - trainable.adapted_linears(model).keys():
        raise ValueError(f"methods: ekfac knows linear maps alone, and the adapter trains {min(others)}; leave it out")


def _rotated(rows: Tensor, Q_x: Tensor, Q_delta: Tensor) -> Tensor:
    """Q_δᵀ G Q_x of each row [out · in], [rows, out · in] in float64."""
    G = rows.double().reshape(len(rows), len(Q_delta), len(Q_x))
    return (Q_delta.T @ G @ Q_x).flatten(1)
