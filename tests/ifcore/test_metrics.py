import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ifcore.metrics import accuracy, auc, chance, coverage

TRAIN = ["a", "a", "b", "b", "b"]


def test_accuracy_looks_at_the_top_example_and_coverage_at_as_many_as_the_class_has():
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


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_values_are_averages_over_all_orders_of_tied_examples(data):
    train = ["a", "b", *data.draw(st.lists(st.sampled_from("ab"), max_size=3))]
    val = data.draw(st.lists(st.sampled_from("ab"), min_size=1, max_size=4))
    row = st.lists(st.integers(0, 2), min_size=len(train), max_size=len(train))
    scores = [data.draw(row) for _ in val]
    hits, shares = [], []
    for order in itertools.permutations(range(len(train))):
        for row, label in zip(scores, val, strict=True):
            ranking = sorted(order, key=lambda i, row=row: -row[i])  # stable: ties stay in this order
            ranked = [train[i] == label for i in ranking]
            hits.append(ranked[0])
            shares.append(np.mean(ranked[: sum(ranked)]))
    assert accuracy(scores, train, val).value == pytest.approx(np.mean(hits), abs=1e-12)
    assert coverage(scores, train, val).value == pytest.approx(np.mean(shares), abs=1e-12)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 999))
def test_the_order_of_the_examples_changes_neither_a_value_nor_its_interval(seed):
    rng = np.random.default_rng(seed)
    scores, val = rng.integers(0, 4, (12, 5)), ["a", "b", "b", "a"] * 3
    rows, columns = rng.permutation(12), rng.permutation(5)
    shuffled = scores[rows][:, columns], [TRAIN[i] for i in columns], [val[i] for i in rows]
    for metric in (accuracy, coverage, auc):
        share, expected = metric(*shuffled), metric(scores, TRAIN, val)
        assert vars(share) == pytest.approx(vars(expected), abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 999), st.integers(2, 9))
def test_the_area_under_the_curve_is_scikit_learns_mean_over_examples(seed, levels):
    rng = np.random.default_rng(seed)
    scores, val = rng.integers(0, levels, (6, 5)), ["a", "b"] * 3
    areas = [roc_auc_score([label == own for label in TRAIN], row) for row, own in zip(scores, val, strict=True)]
    assert auc(scores, TRAIN, val).value == pytest.approx(np.mean(areas), abs=1e-12)


def test_the_area_takes_two_classes():
    with pytest.raises(ValueError, match="train_labels: all are 'a'; two classes are needed"):
        auc(np.ones((1, 2)), ["a", "a"], ["a"])


def test_eight_of_ten_correct_has_the_textbook_interval():
    scores = [[1, 0]] * 8 + [[0, 1]] * 2
    share = accuracy(scores, ["a", "b"], ["a"] * 10)
    assert (share.value, share.low, share.high) == pytest.approx((0.8, 0.4901625, 0.9433178), abs=1e-6)


def test_a_random_score_is_at_chance_in_95_percent_of_draws():
    """With enough validation examples that hits, which come in steps, can be close to 95 %."""
    rng = np.random.default_rng(0)
    train, val = list("abc") * 20, list("abc") * 30
    expected, draws = chance(train, val), 2_000
    for metric in (accuracy, coverage):
        shares = (metric(rng.random((len(val), len(train))), train, val) for _ in range(draws))
        assert 0.93 <= np.mean([share.low <= expected <= share.high for share in shares]) <= 0.97


def test_tensors_arrays_and_lists_give_the_same():
    val = ["a", "b", "b"]
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    plain = scores.tolist()
    for metric in (accuracy, coverage):
        assert metric(scores, TRAIN, val) == metric(plain, TRAIN, val) == metric(np.array(plain), TRAIN, val)
        assert metric(plain, np.array(TRAIN), np.array(val)) == metric(plain, TRAIN, val)


@pytest.mark.parametrize(
    ("scores", "train", "val", "message"),
    [
        (np.ones((5, 3)), TRAIN, ["a", "b", "b"], r"shape \(5, 3\); the labels ask for \(3, 5\)"),
        (np.ones((0, 5)), TRAIN, [], "val_labels: none; at least one"),
        (np.ones((1, 0)), [], ["a"], "train_labels: none; at least one"),
        (np.full((1, 5), np.nan), TRAIN, ["a"], "5 are not finite"),
        (np.ones((1, 5)), TRAIN, ["c"], "'c' has no training example"),
    ],
)
def test_scores_and_labels_that_do_not_fit_are_refused_in_one_line(scores, train, val, message):
    for metric in (accuracy, coverage):
        with pytest.raises(ValueError, match=message) as error:
            metric(scores, train, val)
        assert "\n" not in str(error.value)


def test_chance_needs_labels_that_fit_too():
    with pytest.raises(ValueError, match="val_labels: none"):
        chance(TRAIN, [])
    with pytest.raises(ValueError, match="'c' has no training example"):
        chance(TRAIN, ["c"])
