"""The recursions after t iterations against the recursions themselves, step by step."""

import pytest
import torch

from ifcore import influence
from ifcore.gram import Gram
from study.chapters.approximation_error import iterations

STEPS = [0, 1, 3, 40]


@pytest.fixture
def gradients():
    generator = torch.Generator().manual_seed(0)
    blocks = {"a": 7, "b": 30}
    parts = [
        {name: torch.randn(n, size, dtype=torch.float64, generator=generator) for name, size in blocks.items()}
        for n in (9, 4)
    ]
    for part in parts:
        part["zero"] = torch.zeros(len(part["a"]), 3, dtype=torch.float64)
    return parts


def test_lissa_is_the_engines_after_every_number_of_iterations(gradients):
    gram = Gram.from_gradients(*gradients)
    for t, scores in zip(STEPS, iterations.lissa(gram, STEPS, 0.1), strict=True):
        torch.testing.assert_close(scores, influence.lissa(gram, t, 0.1))


def test_lissa_ends_at_exact(gradients):
    gram = Gram.from_gradients(*gradients)
    torch.testing.assert_close(iterations.lissa(gram, [10**6], 0.1)[0], influence.exact(gram, 0.1))


def test_the_released_recursion_is_its_loop_over_gradients(gradients):
    train, val = gradients
    gram = Gram.from_gradients(train, val)
    for t, scores in zip(STEPS, iterations.released(gram, STEPS, 0.1), strict=True):
        total = torch.zeros_like(scores)
        for block, G in train.items():
            lam, r = 0.1 * G.square().mean(), val[block]
            for _ in range(t):
                r = val[block] + r - sum(torch.outer(r @ g, g) - lam * r for g in G) / len(G) / 1_000
            total += r @ G.T
        torch.testing.assert_close(scores, total)
