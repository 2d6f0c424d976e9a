"""Per-block Gram matrices of the gradients: the one thing that every iHVP method needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gram:
    """K_b = G_b G_bᵀ and C_b = V_b G_bᵀ for the training gradients G_b [N, P_b] and validation gradients V_b [M, P_b].

    `K` [B, N, N] and `C` [B, M, N] in float64, `sizes` [B] the P_b, `blocks` the names of the B blocks.
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

        A block is fetched once and read in panels of columns that take at most `panel_bytes` in float64, so a mapping
        that reads from disk (`gradients.Store`) keeps memory bounded. The products are summed in float64, which makes
        the panel size immaterial. Raises ValueError where the two don't match or a gradient is not finite.
        """
        if not train or set(train) != set(val):
            odd = sorted(set(train) ^ set(val))
            raise ValueError(f"train, val: {'no blocks' if not odd else f'only one has {odd[0]}'}; both need the same")
        products = [_products(block, train[block], val[block], panel_bytes) for block in train]
        K, C, sizes = zip(*products, strict=True)
        if len({k.shape for k in K}) > 1 or len({c.shape for c in C}) > 1:
            raise ValueError("train, val: blocks differ in their number of rows; every block needs every example")
        return cls(torch.stack(K), torch.stack(C), torch.tensor(sizes), tuple(train))

    def damping(self, relative: float) -> Tensor:
        """λ_b = relative · mean(G_b²), [B] (Grosse et al. 2023, Kwon et al. 2023); mean(G_b²) = trace(K_b) / (N P_b)."""
        if relative <= 0:
            raise ValueError(f"damping: {relative}; must be above 0")
        traces = self.K.diagonal(dim1=1, dim2=2).sum(1)
        return relative * traces / (self.K.shape[1] * self.sizes.to(traces))


def _products(block: str, train: Tensor, val: Tensor, panel_bytes: int) -> tuple[Tensor, Tensor, int]:
    """K_b, C_b and P_b of one block."""
    (n, p), (m, p_val) = train.shape, val.shape
    if p != p_val:
        raise ValueError(f"{block}: {p} parameters in train, {p_val} in val; take both from the same model")
    K = torch.zeros(n, n, dtype=torch.float64, device=train.device)
    C = torch.zeros(m, n, dtype=torch.float64, device=train.device)
    width = max(1, panel_bytes // (8 * (n + m)))
    for start in range(0, p, width):
        G = train[:, start : start + width].double()
        V = val[:, start : start + width].double()
        K += G @ G.T
        C += V @ G.T
    if not (K.isfinite().all() and C.isfinite().all()):
        raise ValueError(f"{block}: gradients that are not finite; lower the learning rate or use float32")
    return K, C, p
