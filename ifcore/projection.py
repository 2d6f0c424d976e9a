"""A random projection of gradients that are too large to keep, which preserves dot products within a stated error.

The rows of a block of P_b parameters become k numbers: its parameters are taken in chunks of k, every chunk is turned
by a random rotation, and the chunks are summed. A rotation is D′HD, with H the orthonormal Hadamard matrix and D, D′
random signs. A count sketch (a random bucket and sign for every parameter) has to keep or draw again a table as long as
the block, and its error isn't normal: of gradients made of a few dozen large numbers, only 80 % of the dot products lie
within the error that holds for 95 % here.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

# That are rotated at once. A row of k ≤ 4096 is then too short for PyTorch to start threads, which would take longer to
# wait for one another than to add.
CHUNKS = 8


@dataclass(frozen=True)
class Projection:
    """A seeded random projection of each block's gradients: the same for any batch, process, thread count and machine.

    Parameters
    ----------
    dimensions : int
        k, what is left of a block, a power of 2. A block of no more than k parameters stays as it is.
    seed : int
        Another seed gives another projection; so does another block.

    Raises
    ------
    ValueError
        For dimensions that are no power of 2.
    """

    dimensions: int
    seed: int = 0

    def __post_init__(self):
        if (k := self.dimensions) < 1 or k & (k - 1):
            raise ValueError(f"dimensions: {k}; must be a power of 2, such as {2 ** max(k, 1).bit_length()}")

    def project(self, block: str, rows: Tensor) -> Tensor:
        """Project the gradients of some examples at one block.

        Only additions and changes of sign in a fixed order, so a row is the same to the bit whatever its batch. The
        signs are drawn again at each call, and workings take some 6 · 8 · k numbers a row: nothing grows with P_b.

        Parameters
        ----------
        block : str
            Its name, on which its random numbers depend.
        rows : Tensor
            [b, P_b], in float32 or wider.

        Returns
        -------
        Tensor
            [b, min(P_b, k)]: `rows` itself where P_b ≤ k.
        """
        (b, p), k = rows.shape, self.dimensions
        if p <= k:
            return rows
        digest = hashlib.sha256(f"{self.seed} {block}".encode()).digest()
        generator = np.random.PCG64(int.from_bytes(digest, "big"))
        width = min(CHUNKS, math.ceil(p / k))
        total = rows.new_zeros(b, k, width)
        for start in range(0, p, k * width):
            part = rows[:, start : start + k * width]
            part = nn.functional.pad(part, (0, k * width - part.shape[1])).reshape(b, k, width)
            before, after = (_signs(generator, k, width).to(rows) for _ in range(2))
            total += _hadamard(part * before) * after
        return _sum_columns(total) * k**-0.5

    def relative_error(self) -> float:
        """The error of a dot product relative to both lengths that 95 % stay within: 1.96 √(2/k).

        |⟨ĝ, v̂⟩ − ⟨g, v⟩| ≤ 1.96 √(2/k) ‖g‖ ‖v‖. The products are unbiased over seeds. With g_c, v_c the chunks,

            Var⟨ĝ, v̂⟩ = (1/k) Σ_{c≠d} (‖g_c‖² ‖v_d‖² + ⟨g_c, v_c⟩ ⟨g_d, v_d⟩)
                       ≤ (‖g‖² ‖v‖² + ⟨g, v⟩²) / k ≤ 2 ‖g‖² ‖v‖² / k,

        since a rotation preserves the products within a chunk, and those of two chunks have independent signs: ones of
        variance 1/k, as every entry of H is ±1/√k. An error is a sum of some k such terms, so nearly normal; 99 % of
        the pairs whose gradients are nearly orthogonal stay within it. Blocks are independent: of a whole gradient,
        the sum over blocks, the same holds.

        References
        ----------
        Achlioptas 2003, doi 10.1016/S0022-0000(03)00025-4 (signs, the same variance); Ailon and Chazelle 2009,
        doi 10.1137/060673096 (HD); Balabanov, Beaupère, Grigori, Lederer 2022, arXiv 2210.11295 (a sum of D′HD).
        """
        return 1.96 * math.sqrt(2 / self.dimensions)


def _signs(generator: np.random.PCG64, k: int, width: int) -> Tensor:
    """±1, [k, width], a bit of the generator each, whose raw output is the same in every release of NumPy."""
    count = k * width
    raw = generator.random_raw(math.ceil(count / 64)).astype("<u8").view(np.uint8)
    bits = np.unpackbits(raw, count=count).reshape(k, width)
    return torch.from_numpy(1 - 2 * bits.astype(np.int8))


def _hadamard(x: Tensor) -> Tensor:
    """√k H x of [b, k, width] along k, in place of x: a sum and a difference at every distance 1, 2, 4, … k/2."""
    b, k, width = x.shape
    spare = torch.empty_like(x)
    distance = 1
    while distance < k:
        pairs, result = (tensor.view(b, -1, 2, distance * width) for tensor in (x, spare))
        torch.add(pairs[:, :, 0], pairs[:, :, 1], out=result[:, :, 0])
        torch.sub(pairs[:, :, 0], pairs[:, :, 1], out=result[:, :, 1])
        x, spare = spare, x
        distance *= 2
    return x


def _sum_columns(x: Tensor) -> Tensor:
    """Σ over the last dimension by halves, in an order that doesn't depend on the machine as that of `sum` does."""
    while (width := x.shape[-1]) > 1:
        half = math.ceil(width / 2)
        folded = x[..., :half].clone()
        folded[..., : width - half] += x[..., half:]
        x = folded
    return x[..., 0]
