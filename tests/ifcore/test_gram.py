import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ifcore.gram import Gram


def gradients(seed, n, m, sizes, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    train, val = (
        {f"b{i}": torch.randn(k, p, generator=generator, dtype=dtype) for i, p in enumerate(sizes)} for k in (n, m)
    )
    return train, val


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=3)


class Stored(dict):
    """Stands in for gradients on disk: a block has a shape and column slices, and every access is logged."""

    def __init__(self, gradients, log):
        super().__init__(gradients)
        self.log = log

    def __getitem__(self, block):
        self.log.append(block)
        return _OnDisk(super().__getitem__(block), self.log)


class _OnDisk:
    def __init__(self, tensor, log):
        self._tensor, self._log, self.shape = tensor, log, tensor.shape

    def __getitem__(self, key):
        rows, columns = key
        assert rows == slice(None)
        panel = self._tensor[:, columns]
        self._log.append(panel.numel() * 8)
        return panel


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(1, 7), st.integers(1, 4), SIZES)
def test_entries_are_inner_products_whatever_the_panel(seed, n, m, sizes):
    train, val = gradients(seed, n, m, sizes)
    for panel_bytes in (1, 8 * (n + m) * 7, 2**20):
        gram = Gram.from_gradients(train, val, panel_bytes)
        assert gram.sizes.tolist() == sizes
        for b, name in enumerate(gram.blocks):
            for i, g in enumerate(train[name]):
                inner = [[float(g.dot(other)) for other in part[name]] for part in (train, val)]
                assert gram.K[b, i].tolist() == pytest.approx(inner[0], abs=1e-12)
                assert gram.C[b, :, i].tolist() == pytest.approx(inner[1], abs=1e-12)
            squares = [float(v.dot(v)) for v in val[name]]
            assert gram.val_norms[b].tolist() == pytest.approx(squares, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(1, 7), st.integers(1, 4), SIZES)
def test_under_weights_every_product_is_a_weighted_sum_over_the_parameters(seed, n, m, sizes):
    train, val = gradients(seed, n, m, sizes)
    weights = {name: torch.rand(G.shape[1], generator=torch.Generator().manual_seed(seed)) + 1e-3
               for name, G in train.items()}  # fmt: skip
    gram = Gram.from_gradients(train, val, 8 * (n + m) * 7, weights)
    for b, name in enumerate(gram.blocks):
        G, V, w = train[name], val[name], weights[name].double()
        for product, left, right in ((gram.K[b], G, G), (gram.C[b], V, G)):
            torch.testing.assert_close(product, (left[:, None] * w * right[None]).sum(2), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gram.val_norms[b], (V * w * V).sum(1), rtol=1e-12, atol=0)


def test_stored_gradients_are_fetched_once_a_block_in_panels_within_the_budget():
    train, val = gradients(0, 5, 3, [40, 9])
    log = []
    budget = 8 * (5 + 3) * 6
    gram = Gram.from_gradients(Stored(train, log), Stored(val, log), budget)
    assert [entry for entry in log if isinstance(entry, str)] == ["b0", "b0", "b1", "b1"]
    panels = [entry for entry in log if isinstance(entry, int)]
    assert max(map(sum, zip(panels[::2], panels[1::2], strict=True))) == budget
    expected = Gram.from_gradients(train, val)
    torch.testing.assert_close(gram.K, expected.K, rtol=1e-14, atol=1e-13)
    torch.testing.assert_close(gram.C, expected.C, rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_of_lower_precision_are_summed_in_float64(dtype):
    train, val = gradients(1, 4, 2, [3000], dtype)
    gram = Gram.from_gradients(train, val)
    assert gram.K.dtype == gram.C.dtype == torch.float64
    exact = sum(a * b for a, b in zip(val["b0"][0].tolist(), train["b0"][1].tolist(), strict=True))
    assert float(gram.C[0, 0, 1]) == pytest.approx(exact, abs=1e-10)


def test_damping_is_relative_to_the_mean_square_of_each_block():
    train, val = gradients(0, 5, 2, [6, 11])
    gram = Gram.from_gradients(train | {"zero": torch.zeros(5, 3)}, val | {"zero": torch.ones(2, 3)})
    expected = [0.3 * float((train[name] ** 2).mean()) for name in train] + [0.0]
    assert gram.damping(0.3).tolist() == pytest.approx(expected, rel=1e-14)


def test_the_damping_of_gradients_with_fewer_columns_than_parameters_counts_the_parameters():
    train, val = gradients(0, 5, 2, [6, 11])
    sizes = {"b0": 600, "b1": 11}
    expected = [0.3 * float((train[name] ** 2).sum()) / (5 * sizes[name]) for name in train]
    gram = Gram.from_gradients(train, val, sizes=sizes)
    assert gram.damping(0.3).tolist() == pytest.approx(expected, rel=1e-14)
    dampings = [float(part.damping(0.3)) for part in Gram.by_block(train, val, sizes=sizes)]
    assert dampings == pytest.approx(expected, rel=1e-14)
    for wrong in ({"b0": 600}, {"b0": 5, "b1": 11}):
        with pytest.raises(ValueError, match=r"sizes: (0 for b1|5 for b0), whose gradients have (11|6) columns; count"):
            Gram.from_gradients(train, val, sizes=wrong)


@pytest.mark.parametrize("relative", [0, -0.1, float("nan"), float("inf")])
def test_damping_must_be_a_finite_number_above_0(relative):
    gram = Gram.from_gradients(*gradients(0, 3, 2, [4]))
    with pytest.raises(ValueError, match=rf"damping: {relative}; must be a finite number above 0"):
        gram.damping(relative)


TRAIN, VAL = gradients(0, 3, 2, [4, 5])
ONES = torch.ones


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"b0": ONES(4)}, "weights: none for b1; give them for every block"),
        ({"b0": ONES(4), "b1": ONES(4)}, r"weights: b1 has shape \(4,\), must be \(5,\); give"),
        ({"b0": ONES(4), "b1": torch.arange(5.0)}, "weights: b1 has some that are not finite and above 0; leave"),
        ({"b0": ONES(4) / 0, "b1": ONES(5)}, "weights: b0 has some that are not finite and above 0; leave"),
    ],
)
def test_weights_that_are_no_weights_of_these_gradients_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Gram.from_gradients(TRAIN, VAL, weights=weights)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        (TRAIN, {"b0": VAL["b0"]}, "only one has b1; take both from the same model"),
        ({}, VAL, "only one has b0, b1; take"),
        (TRAIN, VAL | {name: ONES(2, 1) for name in "vwxyz"}, "only one has v, w, x and 2 more; take"),
        ({}, {}, "no blocks"),
        (TRAIN, VAL | {"b1": ONES(2, 9)}, "b1: 5 parameters in train, 9 in val"),
        (TRAIN | {"b1": ONES(4, 5)}, VAL, "b1: 4 train, 2 val rows, others 3, 2; give every example"),
        (TRAIN, VAL | {"b1": ONES(1, 5)}, "b1: 3 train, 1 val rows, others 3, 2; give every example"),
        ({"b": ONES(0, 5)}, {"b": ONES(2, 5)}, r"b: shapes \(0, 5\), \(2, 5\); must be"),
        ({"b": ONES(3, 5, 2)}, {"b": ONES(2, 5, 2)}, r"b: shapes \(3, 5, 2\), \(2, 5, 2\); must be"),
        (TRAIN | {"b1": ONES(3, 5) / 0}, VAL, "b1: gradients that are not finite"),
        (TRAIN, VAL | {"b0": ONES(2, 4) * float("nan")}, "b0: gradients that are not finite"),
        ({"b": torch.zeros(3, 4)}, {"b": ONES(2, 4) / 0}, "b: gradients that are not finite"),
    ],
)
def test_gradients_that_do_not_belong_together_are_refused_in_one_line_by_name(train, val, message):
    with pytest.raises(ValueError, match=message) as error:
        Gram.from_gradients(train, val)
    assert "\n" not in str(error.value)
