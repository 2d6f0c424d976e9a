"""Per-block Gram matrices of the gradients: the one thing that every iHVP method needs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gram:
    """K_b = G_b G_bᵀ and C_b = V_b G_bᵀ of gradients G_b [N, P_b] (training) and V_b [M, P_b] (validation).

    `K` [B, N, N], `C` [B, M, N] and `val_norms` [B, M], the diagonal of V_b V_bᵀ, in float64, `sizes` [B] the P_b,
    `blocks` the names of the B blocks. They stay on the device of the gradients and take 8·B·N·(N + M) bytes.
    """

    K: Tensor
    C: Tensor
    val_norms: Tensor
    sizes: Tensor
    blocks: tuple[str, ...]

    @classmethod
    def from_gradients(
        cls,
        train: Mapping[str, Tensor],
        val: Mapping[str, Tensor],
        panel_bytes: int = 256 * 2**20,
        weights: Mapping[str, Tensor] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> Gram:
        """Compute the Gram matrices of training and validation gradients.

        Parameters
        ----------
        train, val : mapping of str to Tensor
            Block -> per-example gradients, [N, P_b] and [M, P_b]: tensors, or anything with a `shape` whose `[:, a:b]`
            is a tensor, such as `gradient_store.Store` reads from disk.
        panel_bytes : int
            What the columns that are read at a time take in float64; it changes nothing but rounding.
        weights : mapping of str to Tensor, optional
            Block -> w_b [P_b]: K_b = G_b diag(w_b) G_bᵀ, C_b = V_b diag(w_b) G_bᵀ. With `checkpoints.preconditioner`,
            C is what an Adam step without momentum on a training example takes from a validation loss.
        sizes : mapping of str to int, optional
            Block -> its number of parameters where a `projection.Projection` left fewer, which the damping counts; by
            default the columns of its gradients.

        Returns
        -------
        Gram

        Raises
        ------
        ValueError
            Where train and val don't match, a gradient is not finite, weights are missing, of another number, not
            finite or not above 0, or sizes are missing or below the number of columns.
        """
        _check_blocks(train, val)
        if weights is not None and (missing := [block for block in train if block not in weights]):
            raise ValueError(f"weights: none for {missing[0]}; give them for every block")
        counts = []
        for b, block in enumerate(train):
            w_b = None if weights is None else weights[block]
            K_b, C_b, norms_b, size = _products(block, train[block], val[block], w_b, panel_bytes)
            if b == 0:  # filled in place: a list and a stack would hold everything twice
                K, C, norms = (product.new_empty(len(train), *product.shape) for product in (K_b, C_b, norms_b))
            if C_b.shape != C.shape[1:]:
                (m, n), (M, N) = C_b.shape, C.shape[1:]
                raise ValueError(f"{block}: {n} train, {m} val rows, others {N}, {M}; give every example")
            K[b], C[b], norms[b] = K_b, C_b, norms_b
            counts.append(size if sizes is None else _true_size(block, size, sizes))
        return cls(K, C, norms, torch.tensor(counts, device=K.device), tuple(train))

    @classmethod
    def by_block(
        cls,
        train: Mapping[str, Tensor],
        val: Mapping[str, Tensor],
        panel_bytes: int = 256 * 2**20,
        weights: Mapping[str, Tensor] | None = None,
        sizes: Mapping[str, int] | None = None,
    ) -> Iterator[Gram]:
        """The same block by block, each by itself: what can be summed over blocks then takes B times less memory.

        Raises ValueError as `from_gradients` does.
        """
        _check_blocks(train, val)
        for block in train:
            yield cls.from_gradients({block: train[block]}, {block: val[block]}, panel_bytes, weights, sizes)

    def damping(self, relative: float) -> Tensor:
        """λ_b = relative · mean(G_b²), [B], with mean(G_b²) = trace(K_b) / (N P_b).

        The choice of Grosse et al. 2023 and Kwon et al. 2023; 0 for a block whose gradients are all zero. Under weights
        the mean is that of w_b G_b².
        """
        check_damping(relative)
        traces = self.K.diagonal(dim1=1, dim2=2).sum(1)
        return relative * traces / (self.K.shape[1] * self.sizes)


def check_damping(relative: float) -> None:
    """Raise ValueError for what can't be a damping."""
    if not 0 < relative < math.inf:
        raise ValueError(f"damping: {relative}; must be a finite number above 0")


def _check_blocks(train: Mapping[str, Tensor], val: Mapping[str, Tensor]) -> None:
    if not train and not val:
        raise ValueError("train, val: no blocks; the model needs trainable LoRA layers")
    if odd := sorted(set(train) ^ set(val)):
        names = ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
        raise ValueError(f"train, val: only one has {names}; take both from the same model")


def _true_size(block: str, columns: int, sizes: Mapping[str, int]) -> int:
    size = sizes.get(block, 0)
    if size < columns:
        raise ValueError(f"sizes: {size} for {block}, whose gradients have {columns} columns; count its parameters")
    return size


def _products(
    block: str, train: Tensor, val: Tensor, weights: Tensor | None, panel_bytes: int
) -> tuple[Tensor, Tensor, Tensor, int]:
    """K_b, C_b, the diagonal of V_b V_bᵀ, and P_b of one block."""
    shapes = tuple(train.shape), tuple(val.shape)
    if any(len(shape) != 2 or 0 in shape for shape in shapes):
        raise ValueError(f"{block}: shapes {shapes[0]}, {shapes[1]}; must be [examples, parameters], none 0")
    (n, p), (m, p_val) = shapes
    if p != p_val:
        raise ValueError(f"{block}: {p} parameters in train, {p_val} in val; take both from the same model")
    if weights is not None:
        if weights.shape != (p,):
            raise ValueError(f"weights: {block} has shape {tuple(weights.shape)}, must be ({p},); give one a parameter")
        if not (weights.isfinite() & (weights > 0)).all():
            raise ValueError(f"weights: {block} has some that are not finite and above 0; leave none of these")
    width = max(1, panel_bytes // (8 * (n + m)))
    K: Any = 0.0  # on the device of the gradients, which the first panel shows
    C: Any = 0.0
    norms: Any = 0.0
    for start in range(0, p, width):
        G = train[:, start : start + width].double()
        V = val[:, start : start + width].double()
        if weights is not None:  # half to either side: K stays as positive semidefinite as rounding lets it
            root = weights[start : start + width].to(G).sqrt()
            G, V = G * root, V * root
        K += G @ G.T
        C += V @ G.T
        norms += V.square().sum(1)
    # A row that is not finite shows in its own products: NaN times anything, and infinity times 0, are NaN.
    if not (K.isfinite().all() and C.isfinite().all()):
        raise ValueError(f"{block}: gradients that are not finite; lower the learning rate or use float32")
    return K, C, norms, p
