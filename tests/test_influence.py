import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ifcore import influence
from ifcore.gram import Gram
from tests.test_gram import gradients

CASES = st.tuples(
    st.integers(0, 999), st.integers(1, 8), st.integers(1, 4), st.lists(st.integers(1, 20), min_size=1, max_size=3)
)
DAMPINGS = st.sampled_from([1e-3, 0.1, 2.0])


def dense_blocks(train, val, damping):
    """G [N, P], V [M, P], λ of each block, and the damped empirical Fisher, from the gradients themselves."""
    for name, G in train.items():
        lam = damping * (G**2).mean()
        H = torch.stack([torch.outer(g, g) for g in G]).mean(0)
        yield G, val[name], lam, H + lam * torch.eye(G.shape[1], dtype=G.dtype)


def assert_equal(found, expected):
    assert found.shape == expected.shape
    assert (found - expected).norm() <= 1e-9 * expected.norm()


@settings(deadline=None, max_examples=40)
@given(CASES)
def test_gradsim_is_the_inner_product_of_whole_gradients(case):
    train, val = gradients(*case)
    expected = torch.cat(list(val.values()), 1) @ torch.cat(list(train.values()), 1).T
    assert_equal(influence.gradsim(Gram.from_gradients(train, val)), expected)


@settings(deadline=None, max_examples=40)
@given(CASES, DAMPINGS)
def test_exact_equals_the_dense_inverse_of_the_damped_fisher(case, damping):
    train, val = gradients(*case)
    expected = sum(V @ torch.linalg.solve(H, G.T) for G, V, _, H in dense_blocks(train, val, damping))
    assert_equal(influence.exact(Gram.from_gradients(train, val), damping), expected)


@settings(deadline=None, max_examples=40)
@given(CASES, DAMPINGS)
def test_datainf_equals_the_mean_of_the_dense_inverses(case, damping):
    train, val = gradients(*case)
    expected = 0
    for G, V, lam, _ in dense_blocks(train, val, damping):
        eye = lam * torch.eye(G.shape[1], dtype=G.dtype)
        inverse = torch.stack([torch.linalg.inv(torch.outer(g, g) + eye) for g in G]).mean(0)
        expected = expected + V @ inverse @ G.T
    assert_equal(influence.datainf(Gram.from_gradients(train, val), damping), expected)


@settings(deadline=None, max_examples=40)
@given(CASES, DAMPINGS, st.integers(0, 12))
def test_lissa_equals_its_recursion_on_parameter_vectors(case, damping, iterations):
    train, val = gradients(*case)
    expected = 0
    for G, V, _, H in dense_blocks(train, val, damping):
        alpha = 1 / torch.linalg.eigvalsh(H)[-1]
        r = V
        for _ in range(iterations):
            r = V + r - alpha * r @ H
        expected = expected + alpha * r @ G.T
    assert_equal(influence.lissa(Gram.from_gradients(train, val), iterations, damping), expected)


def test_lissa_converges_to_exact():
    gram = Gram.from_gradients(*gradients(3, 8, 3, [20, 5]))
    errors = [
        float((influence.lissa(gram, t, 0.1) - influence.exact(gram, 0.1)).norm()) for t in (0, 10, 100, 1000, 5000)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9 * float(influence.exact(gram, 0.1).norm())


@pytest.mark.parametrize("method", influence.METHODS)
def test_a_block_without_a_gradient_adds_nothing(method):
    """lora_A of an untouched adapter: B is zero, and so is the gradient of A."""
    train, val = gradients(4, 6, 2, [7])
    expected = influence.METHODS[method](Gram.from_gradients(train, val))
    zero = {"zero": torch.zeros(6, 9)}, {"zero": torch.zeros(2, 9)}
    found = influence.METHODS[method](Gram.from_gradients(train | zero[0], val | zero[1]))
    assert torch.equal(found, expected)


def test_a_training_example_is_most_influential_on_itself():
    train, _ = gradients(5, 6, 1, [40])
    gram = Gram.from_gradients(train, train)
    for method in influence.METHODS.values():
        assert method(gram).argmax(1).tolist() == list(range(6))


def test_impossible_settings_are_refused():
    gram = Gram.from_gradients(*gradients(0, 3, 2, [4]))
    with pytest.raises(ValueError, match="damping: -1; must be above 0"):
        influence.exact(gram, damping=-1)
    with pytest.raises(ValueError, match="iterations: -1; must be 0 or more"):
        influence.lissa(gram, iterations=-1)
