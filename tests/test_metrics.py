import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ifcore import metrics
from ifcore.metrics import accuracy, chance, coverage

TRAIN = ["a", "a", "b", "b", "b"]


def test_hand_worked_scores():
    scores = [
        [5, 4, 3, 2, 1],  # a: top is a; both of the top two are a
        [1, 9, 8, 7, 2],  # b: top is a; two of the top three are b
        [1, 2, 9, 3, 4],  # b: top is b; all of the top three are b
    ]
    assert accuracy(scores, TRAIN, ["a", "b", "b"]).value == pytest.approx(2 / 3)
    assert coverage(scores, TRAIN, ["a", "b", "b"]).value == pytest.approx((1 + 2 / 3 + 1) / 3)


def test_ties_count_by_what_a_random_order_would_give():
    # The top is shared by an a and two b; the second place of the class a's two falls among them.
    scores = [[7, 0, 7, 7, 1]]
    assert accuracy(scores, TRAIN, ["a"]).value == pytest.approx(1 / 3)
    assert coverage(scores, TRAIN, ["a"]).value == pytest.approx((2 / 3) / 2)
    # b: three places, exactly the tied three, two of which are b.
    assert coverage(scores, TRAIN, ["b"]).value == pytest.approx(2 / 3)


def test_constant_scores_are_chance():
    val = ["a", "b", "b"]
    expected = (2 / 5 + 3 / 5 + 3 / 5) / 3
    assert chance(TRAIN, val) == pytest.approx(expected)
    assert accuracy(np.ones((3, 5)), TRAIN, val).value == pytest.approx(expected)
    assert coverage(np.ones((3, 5)), TRAIN, val).value == pytest.approx(expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 999), st.integers(1, 5), st.integers(3, 9))
def test_values_are_averages_over_the_orders_of_tied_examples(seed, m, n):
    """Many random tie-breaks of coarse scores, by plain sorting, average to the value."""
    rng = np.random.default_rng(seed)
    train = ["a", "b", *rng.choice(["a", "b"], n - 2)]
    val = list(rng.choice(["a", "b"], m))
    scores = rng.integers(0, 3, (m, n)).astype(float)
    first, share = [], []
    for _ in range(1500):
        order = np.argsort(-(scores + rng.uniform(0, 0.5, scores.shape)), axis=1)
        ranked = [[train[i] == label for i in row] for row, label in zip(order, val, strict=True)]
        first.append(np.mean([row[0] for row in ranked]))
        share.append(np.mean([np.mean(row[: sum(row)]) for row in ranked]))
    assert accuracy(scores, train, val).value == pytest.approx(np.mean(first), abs=0.06)
    assert coverage(scores, train, val).value == pytest.approx(np.mean(share), abs=0.06)


@settings(deadline=None, max_examples=10)
@given(st.randoms(use_true_random=False))
def test_the_order_of_the_examples_does_not_matter(random):
    rng = np.random.default_rng(random.randrange(1000))
    scores, val = rng.normal(size=(4, 5)), ["a", "b", "b", "a"]
    rows, columns = rng.permutation(4), rng.permutation(5)
    shuffled = scores[rows][:, columns], [TRAIN[i] for i in columns], [val[i] for i in rows]
    for metric in (accuracy, coverage):
        assert metric(*shuffled).value == pytest.approx(metric(scores, TRAIN, val).value)


def test_intervals_are_wilsons_for_accuracy_and_the_bootstraps_for_coverage():
    assert metrics.wilson(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)  # textbook value for 8 of 10
    assert metrics.wilson(0, 10) == pytest.approx((0, 0.2775328), abs=1e-6)
    rng = np.random.default_rng(0)
    scores, val = rng.normal(size=(60, 5)), ["a", "b"] * 30
    found = coverage(scores, TRAIN, val)
    each = np.array([coverage(scores[i : i + 1], TRAIN, val[i : i + 1]).value for i in range(60)])
    half = 1.96 * each.std() / 60**0.5  # the normal interval, which the bootstrap's approaches
    assert (found.low, found.high) == pytest.approx((each.mean() - half, each.mean() + half), abs=0.015)
    assert coverage(scores, TRAIN, val) == found
    assert coverage([[5, 4, 3, 2, 1]], TRAIN, ["a"]) == metrics.Metric(1, 1, 1)


def test_tensors_and_arrays_give_the_same():
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert accuracy(scores, TRAIN, ["a", "b", "b"]) == accuracy(scores.numpy(), TRAIN, ["a", "b", "b"])


@pytest.mark.parametrize(
    ("scores", "val", "message"),
    [
        (np.ones((5, 3)), ["a", "b", "b"], r"shape \(5, 3\); \(3, 5\) labels ask for \[val, train\]"),
        (np.ones((0, 5)), [], "neither empty"),
        (np.full((1, 5), np.nan), ["a"], "5 are not finite"),
        (np.ones((1, 5)), ["c"], "'c' has no training example"),
    ],
)
def test_scores_and_labels_that_do_not_fit_are_refused_in_one_line(scores, val, message):
    for metric in (accuracy, coverage):
        with pytest.raises(ValueError, match=message):
            metric(scores, TRAIN, val)
