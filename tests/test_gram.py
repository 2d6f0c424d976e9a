import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ifcore.gram import Gram


def gradients(seed, n, m, sizes):
    generator = torch.Generator().manual_seed(seed)
    rows = [
        {f"b{i}": torch.randn(k, p, generator=generator, dtype=torch.float64) for i, p in enumerate(sizes)}
        for k in (n, m)
    ]
    return rows[0], rows[1]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(1, 7), st.integers(1, 4), st.lists(st.integers(1, 40), min_size=1, max_size=3))
def test_entries_are_inner_products_whatever_the_panel(seed, n, m, sizes):
    train, val = gradients(seed, n, m, sizes)
    for panel_bytes in (1, 8 * (n + m) * 7, 2**20):
        gram = Gram.from_gradients(train, val, panel_bytes)
        assert gram.sizes.tolist() == sizes
        for b, name in enumerate(gram.blocks):
            for i in range(n):
                for j in range(n):
                    assert float(gram.K[b, i, j]) == pytest.approx(float(train[name][i].dot(train[name][j])), abs=1e-12)
                for j in range(m):
                    assert float(gram.C[b, j, i]) == pytest.approx(float(val[name][j].dot(train[name][i])), abs=1e-12)


def test_damping_is_relative_to_the_mean_square_of_each_block():
    train, val = gradients(0, 5, 2, [6, 11])
    gram = Gram.from_gradients(train, val)
    expected = torch.stack([0.3 * (train[name] ** 2).mean() for name in gram.blocks])
    torch.testing.assert_close(gram.damping(0.3), expected)
    with pytest.raises(ValueError, match="damping: 0; must be above 0"):
        gram.damping(0)


def test_gradients_that_do_not_belong_together_are_refused_by_name():
    train, val = gradients(0, 3, 2, [4, 5])
    ones = torch.ones
    for a, b, message in (
        (train, {"b0": val["b0"]}, "only one has b1"),
        ({}, {}, "no blocks"),
        (train, val | {"b1": ones(2, 9)}, "b1: 5 parameters in train, 9 in val"),
        (train | {"b1": ones(4, 5)}, val, "differ in their number of rows"),
        (train | {"b1": ones(3, 5) / 0}, val, "b1: gradients that are not finite"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            Gram.from_gradients(a, b)
        assert "\n" not in str(error.value)
