"""EK-FAC against the dense matrix that it stands for, and where it is exact."""

import pytest
import torch

from ifcore import gradients, influence, lora
from ifcore.ekfac import ekfac
from ifcore.examples import batches as batched
from ifcore.gram import Gram
from tests import architectures

DAMPING = 0.3


@pytest.fixture
def collected(tiny, examples):
    """Gradients of training and validation examples, and the factors of the former."""
    model, tokenizer = tiny
    factors = {}
    parts = [lora.example_batches(model, tokenizer, part, 2) for part in (examples, examples[:2])]
    pieces = gradients.stream(model, parts[0], factors=factors)
    return gradients.gather(parts[0], pieces), gradients.example_gradients(model, parts[1]), factors, parts[0]


def test_the_factors_are_the_sums_over_tokens_of_each_example_alone(tiny, collected):
    model, _ = tiny
    _, _, factors, batches = collected
    name = next(name for name in factors if name.endswith("layers.1.self_attn.v_proj.lora_B.default"))
    layer = model.eval().get_submodule(name)
    seen = {}
    layer.register_forward_hook(lambda _, x, y: seen.update(x=x[0], y=y))
    expected = [torch.zeros_like(each) for each in factors[name]]
    for single in (each for batch in batches for each in batch.singles()):
        loss = lora.example_losses(model, single).sum()
        (delta,) = torch.autograd.grad(loss, seen["y"])
        for sums, each in zip(expected, (seen["x"], delta), strict=True):
            sums += each[0].detach().T @ each[0].detach()
    for found, sums in zip(factors[name], expected, strict=True):
        torch.testing.assert_close(found, sums)


def test_scores_are_those_of_the_dense_kronecker_factored_inverse(collected):
    train, val, factors, _ = collected
    expected = 0
    for block, G in train.items():
        Q_x, Q_delta = (torch.linalg.eigh(each)[1] for each in factors[block])
        Q = torch.kron(Q_delta, Q_x)  # of gradients flattened as [out, in]
        fisher = (G @ Q).square().mean(0)
        if fisher.sum() > 0:
            H = Q @ torch.diag(fisher + DAMPING * G.square().mean()) @ Q.T
            expected = expected + val[block] @ torch.linalg.inv(H) @ G.T
    torch.testing.assert_close(ekfac(train, val, factors, DAMPING), expected)


def test_of_one_example_of_one_token_it_is_the_exact_inverse():
    """Then the Fisher is of rank one, and its vector is one of the basis."""
    x, delta, v = (torch.randn(*shape, dtype=torch.float64) for shape in ((1, 4), (1, 3), (2, 12)))
    train, val = {"a": (delta.T @ x).flatten()[None]}, {"a": v}
    factors = {"a": (x.T @ x, delta.T @ delta)}
    torch.testing.assert_close(
        ekfac(train, val, factors, DAMPING), influence.exact(Gram.from_gradients(train, val), DAMPING)
    )


def test_a_block_that_is_no_linear_map_is_refused_by_name():
    model, factors = architectures.adapted("llama", "embedding"), {}
    batches = batched(architectures.tokens(), 3)
    rows = gradients.gather(batches, gradients.stream(model, batches, factors=factors))
    with pytest.raises(ValueError, match="factors: none of .*lora_embedding_A.*choose another method"):
        ekfac(rows, rows, factors)


@pytest.mark.parametrize("damping", [0, -1, float("nan")])
def test_damping_that_is_not_above_zero_is_refused(collected, damping):
    train, val, factors, _ = collected
    with pytest.raises(ValueError, match="damping: .*; must be a finite number above 0"):
        ekfac(train, val, factors, damping)


def test_a_block_without_gradients_adds_nothing():
    zero, factors = {"a": torch.zeros(2, 6)}, {"a": (torch.eye(3), torch.eye(2))}
    assert torch.equal(ekfac(zero, zero, factors), torch.zeros(2, 2, dtype=torch.float64))
