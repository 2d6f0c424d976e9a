"""The linear datamodeling score: by a loop, where the truth is known, and of chance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ifcore import linear
from study.chapters.counterfactual import datamodels, sets
from study.datasets import digits

SIZE, EXPLAINED, HALVES, DECAY = 60, 15, 40, 0.1


@given(
    arrays(float, (3, 8), elements=st.integers(-5, 5).map(float)),
    arrays(float, (10, 3), elements=st.integers(-5, 5).map(float)),
)
def test_lds_is_spearmans_correlation_of_sums_and_losses_example_by_example(scores, lost):
    kept = sets.halves(8, 10, 0)
    for row, found in zip(range(3), datamodels.lds(scores, kept, lost), strict=True):
        sums = [sum(scores[row, place] for place in range(8) if half[place]) for half in kept]
        if len(set(sums)) == 1 or len(set(lost[:, row])) == 1:
            assert found == 0
        else:
            assert found == pytest.approx(stats.spearmanr(sums, -lost[:, row]).statistic)


@pytest.fixture(scope="module")
def retrained():
    """Softmax regression: exact influence of each training point, and the losses after training on random halves."""
    train, val = digits.draw(None, SIZE, EXPLAINED, None, 0)
    scores = linear.exact_influence(linear.fit(train, 10, DECAY), train, val, DECAY)
    kept = sets.halves(SIZE, HALVES, 0)

    def losses(rows):
        part = linear.Points(*(each[torch.as_tensor(rows)] for each in train))
        return linear.losses(linear.fit(part, 10, DECAY), val).numpy()

    return scores.numpy(), kept, np.stack([losses(np.flatnonzero(row)) for row in kept]), losses


def test_exact_influence_predicts_retraining_of_a_linear_model(retrained):
    scores, kept, lost, _ = retrained
    assert datamodels.lds(scores, kept, lost).mean() > 0.9


def test_removal_by_exact_influence_beats_random_removal(retrained):
    scores, _, _, losses = retrained
    top = np.argsort(-scores.sum(0))[:20]
    random = np.random.default_rng(0)
    drawn = [losses(random.permutation(SIZE)[20:]).mean() for _ in range(30)]
    without = losses(np.setdiff1d(np.arange(SIZE), top)).mean()
    assert stats.ttest_1samp(drawn, without, alternative="less").pvalue < 0.01


def test_the_interval_of_a_random_score_holds_nothing_and_that_of_the_truth_does_not(retrained):
    scores, kept, lost, _ = retrained
    random = np.random.default_rng(1)
    tried = {str(draw): random.normal(size=scores.shape) for draw in range(20)}
    own, _ = datamodels.compared(tried, kept, lost, list(range(EXPLAINED)), 0)
    assert sum(low <= 0 <= high for _, low, high in own.values()) >= 17
    own, gap = datamodels.compared({"exact": scores, "random": tried["0"]}, kept, lost, range(EXPLAINED), 0)
    _, low, high = own["exact"]
    assert 0 < low <= datamodels.lds(scores, kept, lost).mean() <= high
    assert gap["exact", "random"][1] > 0 and ("random", "exact") not in gap  # a control is ahead of nobody
