"""Operations of attribution, counted from sizes: a multiplication and an addition are two operations."""

from study.pipeline.architectures import Architecture


def blocks(shape: Architecture, rank: int) -> list[int]:
    """P_b: parameters of each block, the two of LoRA on each query and value projection."""
    return shape.layers * [rank * size for size in (shape.hidden, shape.hidden, shape.hidden, shape.kv_width)]


def passes(shape: Architecture, tokens: float, length: float, predicted: float, rank: int) -> float:
    """A forward and a backward pass over `tokens` in sequences of about `length`, the head at `predicted` positions.

    The weights are frozen: backward, a linear map costs what it costs forward, but attention, whose two factors both
    have gradients, and LoRA, whose weights have some, cost twice that.
    """
    h, kv = shape.hidden, shape.kv_width
    linear = shape.layers * 2 * (2 * h * (h + kv) + 3 * h * shape.intermediate)
    attention = shape.layers * 4 * length * h
    return tokens * (2 * linear + 3 * attention + 3 * 2 * shape.lora(rank)) + 2 * predicted * 2 * shape.vocabulary * h


def gram(train: float, val: float, sizes: list[int]) -> float:
    """The products of training gradients with one another and with the explained ones."""
    return 2 * train * (train + val) * sum(sizes)


def fishers(train: float, sizes: list[int]) -> float:
    """G_bᵀ G_b of every block: another way to the exact inverse, for more examples than a block has parameters."""
    return 2 * train * sum(size**2 for size in sizes)
