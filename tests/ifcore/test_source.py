"""SOURCE against dense matrix functions, a simulated descent, and what it becomes where training is short or long."""

import math

import pytest
import torch

from ifcore import influence
from ifcore.gram import Gram
from ifcore.source import source

T, N, M = 6, 4, 3


def random_gradients(size, seed=0):
    """Of T checkpoints, [T, N, P], which drift apart, and of validation examples, [M, P]."""
    generator = torch.Generator().manual_seed(seed)
    steps = torch.randn(T, N, size, generator=generator, dtype=torch.float64)
    return steps.cumsum(0), torch.randn(M, size, generator=generator, dtype=torch.float64)


def gram_of(*blocks, weights=None):
    train = {f"b{b}": G.flatten(0, 1) for b, (G, _) in enumerate(blocks)}
    return Gram.from_gradients(train, {f"b{b}": V for b, (_, V) in enumerate(blocks)}, weights=weights)


def even(segments):
    """How many checkpoints each of so many segments has; of four the last has none, of five fewer."""
    return [len(part) for part in torch.arange(T).chunk(segments)]


def segment_means(G, segments):
    """H̄_l [P, P] and ḡ_l [N, P] of each segment."""
    for part in G.chunk(segments):
        yield sum(step.T @ step for step in part) / part.shape[0] / N, part.mean(0)


def dense(G, V, rates, w=None):
    """The definition in parameter space: f(H) = ∫₀^rate exp(−sH) ds is a corner of one matrix exponential."""
    return dense_scores(G, V, even(len(rates)), rates, torch.ones(G.shape[2], dtype=G.dtype) if w is None else w)


def dense_scores(G, V, sizes, rates, w):
    """The same [M, N] of gradients [T, N, P] and [M, P] of one block, for segments of any sizes."""
    P, scores = G.shape[2], 0.0
    W, identity = torch.diag(w), torch.eye(G.shape[2], dtype=G.dtype)
    for part, rate in reversed(list(zip(G.split(list(sizes)), rates, strict=True))):
        H, mean = sum(step.T @ step for step in part) / len(part) / G.shape[1], part.mean(0)
        corner = torch.zeros(2 * P, 2 * P, dtype=G.dtype)
        corner[:P, :P], corner[:P, P:] = -rate * W @ H, rate * identity
        scores = scores + V @ torch.matrix_exp(corner)[:P, P:] @ W @ mean.T
        V = V @ torch.matrix_exp(-rate * W @ H)
    return scores


def assert_same(actual, expected, rtol=1e-10):
    assert (actual - expected).norm() < rtol * expected.norm()


@pytest.mark.parametrize("rates", [(0.4,), (0.02, 0.3, 0.05), (1e-3,) * 6])
@pytest.mark.parametrize("size", [3, 30, 60])
def test_scores_are_those_of_dense_matrix_functions(size, rates):
    """With fewer parameters than rows, and with more."""
    gradients = random_gradients(size)
    assert_same(source(gram_of(gradients), even(len(rates)), rates), dense(*gradients, rates))


def test_blocks_add_up_and_one_without_gradients_adds_nothing():
    first, second = random_gradients(7), random_gradients(40, 1)
    zero = torch.zeros(T, N, 2).double(), torch.ones(M, 2).double()
    rates = 0.1, 0.2
    assert_same(source(gram_of(first, zero, second), even(2), rates), dense(*first, rates) + dense(*second, rates))


def test_of_a_weighted_gram_it_is_that_of_a_preconditioned_descent():
    G, V = random_gradients(20)
    w = torch.rand(20, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.1
    rates = 0.1, 0.2, 0.05
    assert_same(source(gram_of((G, V), weights={"b0": w}), even(3), rates), dense(G, V, rates, w))


def test_it_is_what_more_weight_of_an_example_does_to_a_descent_step_by_step():
    """θ ← θ − η (H_l θ + ε ḡ_li): minus what the end changes by ε, along v."""
    (G, V), rates, steps = random_gradients(30), (0.02, 0.1, 0.05), 20_000
    change = torch.zeros(30, N, dtype=torch.float64)
    for (H, mean), rate in zip(segment_means(G, 3), rates, strict=True):
        for _ in range(steps):
            change = change - rate / steps * (H @ change + mean.T)
    assert_same(source(gram_of((G, V)), even(3), rates), -V @ change, 1e-3)


def test_of_a_short_training_it_is_tracin():
    G, V = random_gradients(30)
    rates = 1e-12, 2e-12, 3e-12
    products = [V @ mean.T for _, mean in segment_means(G, 3)]
    assert_same(source(gram_of((G, V)), even(3), rates), influence.tracin(products, rates), 1e-9)


def test_an_example_with_next_to_no_gradient_has_its_own_small_score():
    """Its eigenvalue is 10⁻¹⁶ of the largest, which is where rounding begins."""
    G, V = random_gradients(60)
    G[:, 0] *= 1e-8
    assert_same(source(gram_of((G, V)), even(1), [0.1])[:, 0], dense(G, V, [0.1])[:, 0], 1e-5)


@pytest.mark.parametrize("rate", [1e9, math.inf])
@pytest.mark.parametrize("size", [3, 30])
def test_of_one_long_segment_it_is_the_pseudo_inverse(size, rate):
    G, V = random_gradients(size)
    ((H, mean),) = segment_means(G, 1)
    expected = V @ torch.linalg.pinv(H, hermitian=True) @ mean.T
    assert_same(source(gram_of((G, V)), even(1), [rate]), expected, 1e-9)


def test_segments_need_not_be_of_one_size():
    G, V = random_gradients(20)
    sizes, rates = [1, 3, 2], (0.1, 0.2, 0.05)
    expected = dense_scores(G, V, sizes, rates, torch.ones(20, dtype=G.dtype))
    assert_same(source(gram_of((G, V)), sizes, rates), expected)


@pytest.mark.parametrize(
    ("sizes", "rates", "message"),
    [
        ([5], [1], r"sizes: \[5\], for 24 rows; give the same examples at every checkpoint"),
        ([], [1], r"sizes: \[\], for 24 rows"),
        ([6, 0], [1, 1], r"sizes: \[6, 0\]"),
        ([3, 3], [1], r"rates: \[1\]; give one for each of the 2 segments, 0 or more"),
        ([3, 3], [1, -1], r"rates: \[1, -1\]"),
        ([3, 3], [1, math.nan], r"rates: \[1, nan\]"),
    ],
)
def test_what_does_not_divide_is_refused_in_one_line(sizes, rates, message):
    with pytest.raises(ValueError, match=message):
        source(gram_of(random_gradients(5)), sizes, rates)
