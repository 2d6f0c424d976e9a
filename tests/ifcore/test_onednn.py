"""Linear maps through oneDNN against the ordinary ones."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ifcore import onednn

sizes = st.integers(1, 90)


@given(rows=st.integers(onednn.ROWS, 200), width=sizes, out=sizes, bias=st.booleans(), seed=st.integers(0, 99))
def test_products_and_gradients_are_those_of_an_ordinary_layer(rows, width, out, bias, seed):
    generator = torch.Generator().manual_seed(seed)
    plain = nn.Linear(width, out, bias).requires_grad_(False)
    layer = nn.Sequential(copy.deepcopy(plain))
    onednn.through_onednn(layer)
    x = torch.randn(2, rows, width, generator=generator).transpose(0, 1).requires_grad_()
    weights = torch.randn(rows, 2, out, generator=generator)
    expected, output = plain.double()(x.double()), layer(x)
    assert output.grad_fn.name() == "_ProductBackward"
    torch.testing.assert_close(output.double(), expected, rtol=1e-5, atol=1e-5)
    gradient = torch.autograd.grad((expected * weights).sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad((output * weights).sum(), x)[0], gradient, rtol=1e-4, atol=1e-4)


def test_a_layer_that_is_trained_has_the_gradient_of_its_weight():
    layer = nn.Sequential(nn.Linear(8, 4))
    onednn.through_onednn(layer)
    layer(torch.randn(100, 8)).sum().backward()
    assert layer[0].weight.grad is not None


@pytest.mark.parametrize("x", [torch.randn(100, 8).double(), torch.randn(2, 8)])
def test_other_precisions_and_few_rows_take_the_ordinary_way(x):
    layer = nn.Sequential(nn.Linear(8, 4)).requires_grad_(False).to(x.dtype)
    expected = layer(x.requires_grad_())
    onednn.through_onednn(layer)
    assert torch.equal(layer(x), expected)
    assert "Product" not in layer(x).grad_fn.name()
