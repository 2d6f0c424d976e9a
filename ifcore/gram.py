"""Per-block Gram matrices of the gradients: the one thing that every iHVP method needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gram:
    """K_b = G_b G_bᵀ and C_b = V_b G_bᵀ of gradients G_b [N, P_b] (training) and V_b [M, P_b] (validation).

    `K` [B, N, N] and `C` [B, M, N] in float64, `sizes` [B] the P_b, `blocks` the names of the B blocks. They
    stay on the device of the gradients and take 8·B·N·(N + M) bytes.
    """

    K: Tensor
    C: Tensor
    sizes: Tensor
    blocks: tuple[str, ...]

    @classmethod
    def from_gradients(
        cls, train: Mapping[str, Tensor], val: Mapping[str, Tensor], panel_bytes: int = 256 * 2**20
    ) -> Gram:
        """The Gram matrices of two mappings block -> per-example gradients, [N, P_b] and [M, P_b].

        A block is a tensor, or anything with a `shape` whose `[:, a:b]` is a tensor. It is fetched once and
        read in panels of columns that take at most `panel_bytes` in float64, train and val together, so a
        mapping that reads from disk (`gradients.Store`) keeps memory bounded. The products are summed in
        float64: the panel size changes nothing but rounding. Raises ValueError where the two don't match or a
        gradient is not finite.
        """
        if not train and not val:
            raise ValueError("train, val: no blocks; the model needs trainable LoRA layers")
        if odd := sorted(set(train) ^ set(val)):
            names = ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
            raise ValueError(f"train, val: only one has {names}; take both from the same model")
        sizes = []
        for b, block in enumerate(train):
            K_b, C_b, size = _products(block, train[block], val[block], panel_bytes)
            if b == 0:  # filled in place: a list and a stack would hold everything twice
                K, C = (product.new_empty(len(train), *product.shape) for product in (K_b, C_b))
            if C_b.shape != C.shape[1:]:
                (m, n), (M, N) = C_b.shape, C.shape[1:]
                raise ValueError(f"{block}: {n} train, {m} val rows, others {N}, {M}; give every example")
            K[b], C[b] = K_b, C_b
            sizes.append(size)
        return cls(K, C, torch.tensor(sizes, device=K.device), tuple(train))

    def damping(self, relative: float) -> Tensor:
        """λ_b = relative · mean(G_b²), [B], with mean(G_b²) = trace(K_b) / (N P_b).

        The choice of Grosse et al. 2023 and Kwon et al. 2023; 0 for a block whose gradients are all zero.
        """
        if not 0 < relative < math.inf:
            raise ValueError(f"damping: {relative}; must be a finite number above 0")
        traces = self.K.diagonal(dim1=1, dim2=2).sum(1)
        return relative * traces / (self.K.shape[1] * self.sizes)


def _products(block: str, train: Tensor, val: Tensor, panel_bytes: int) -> tuple[Tensor, Tensor, int]:
    """K_b, C_b and P_b of one block."""
    shapes = tuple(train.shape), tuple(val.shape)
    if any(len(shape) != 2 or 0 in shape for shape in shapes):
        raise ValueError(f"{block}: shapes {shapes[0]}, {shapes[1]}; must be [examples, parameters], none 0")
    (n, p), (m, p_val) = shapes
    if p != p_val:
        raise ValueError(f"{block}: {p} parameters in train, {p_val} in val; take both from the same model")
    K = C = 0
    width = max(1, panel_bytes // (8 * (n + m)))
    for start in range(0, p, width):
        G = train[:, start : start + width].double()
        V = val[:, start : start + width].double()
        K += G @ G.T
        C += V @ G.T
    # A row that is not finite shows in its own products: NaN times anything, and infinity times 0, are NaN.
    if not (K.isfinite().all() and C.isfinite().all()):
        raise ValueError(f"{block}: gradients that are not finite; lower the learning rate or use float32")
    return K, C, p
