"""EK-FAC against the dense matrix that it approximates, and against the exact inverse where the two agree."""

import pytest
import torch

from ifcore import gradients, influence
from ifcore.batches import batches, example_batches
from ifcore.ekfac import ekfac, gather_factors
from ifcore.gram import Gram
from ifcore.losses import example_losses
from tests import architectures

DAMPING = 0.3


@pytest.fixture
def computed(tiny, examples):
    """Gradients of the training and the validation examples, the factors and the batches of the former."""
    model, tokenizer = tiny
    train_batches, val_batches = (example_batches(model, tokenizer, part, 2) for part in (examples, examples[:2]))
    train, val = (gradients.example_gradients(model, batches) for batches in (train_batches, val_batches))
    return train, val, gather_factors(model, train_batches), train_batches


def test_the_factors_are_the_sums_over_tokens_of_each_example_alone(tiny, computed):
    model, _ = tiny
    _, _, factors, train_batches = computed
    name = next(name for name in factors if name.endswith("layers.1.self_attn.v_proj.lora_B.default"))
    layer = model.eval().get_submodule(name)
    seen = {}
    layer.register_forward_hook(lambda _, x, y: seen.update(x=x[0], y=y))
    expected = [torch.zeros_like(factor) for factor in factors[name]]
    for single in (single for batch in train_batches for single in batch.singles()):
        loss = example_losses(model, single).sum()
        (delta,) = torch.autograd.grad(loss, seen["y"])
        for total, vectors in zip(expected, (seen["x"], delta), strict=True):
            total += vectors[0].detach().T @ vectors[0].detach()
    for factor, total in zip(factors[name], expected, strict=True):
        torch.testing.assert_close(factor, total)


def test_scores_are_those_of_the_dense_kronecker_factored_inverse(computed):
    train, val, factors, _ = computed
    expected = 0
    for block, G in train.items():
        Q_x, Q_delta = (torch.linalg.eigh(factor)[1] for factor in factors[block])
        Q = torch.kron(Q_delta, Q_x)  # of gradients flattened as [out, in]
        fisher = (G @ Q).square().mean(0)
        if fisher.sum() > 0:
            H = Q @ torch.diag(fisher + DAMPING * G.square().mean()) @ Q.T
            expected = expected + val[block] @ torch.linalg.inv(H) @ G.T
    torch.testing.assert_close(ekfac(train, val, factors, DAMPING), expected)


def test_of_one_example_of_one_token_it_is_the_exact_inverse():
    """The Fisher is then of rank one, and its eigenvector is in the basis."""
    x, delta, v = (torch.randn(*shape, dtype=torch.float64) for shape in ((1, 4), (1, 3), (2, 12)))
    train, val = {"a": (delta.T @ x).flatten()[None]}, {"a": v}
    factors = {"a": (x.T @ x, delta.T @ delta)}
    torch.testing.assert_close(
        ekfac(train, val, factors, DAMPING), influence.exact(Gram.from_gradients(train, val), DAMPING)
    )


def test_a_block_that_is_no_linear_map_is_refused_by_name():
    model = architectures.adapted("llama", "embedding")
    train_batches = batches(architectures.tokens(), 3)
    rows, factors = gradients.example_gradients(model, train_batches), gather_factors(model, train_batches)
    with pytest.raises(ValueError, match="factors: none of .*lora_embedding_A.*choose another method"):
        ekfac(rows, rows, factors)


def test_a_fisher_of_other_blocks_is_refused_by_name():
    G, factors = {"a": torch.ones(2, 6)}, {"a": (torch.eye(3), torch.eye(2))}
    with pytest.raises(ValueError, match="fisher: no gradients of a; take them from the same model"):
        ekfac(G, G, factors, fisher={"b": G["a"]})


@pytest.mark.parametrize("damping", [0, -1, float("nan")])
def test_damping_that_is_not_above_zero_is_refused(computed, damping):
    train, val, factors, _ = computed
    with pytest.raises(ValueError, match="damping: .*; must be a finite number above 0"):
        ekfac(train, val, factors, damping)


def test_a_block_without_gradients_adds_nothing():
    zero, factors = {"a": torch.zeros(2, 6)}, {"a": (torch.eye(3), torch.eye(2))}
    assert torch.equal(ekfac(zero, zero, factors), torch.zeros(2, 2, dtype=torch.float64))
