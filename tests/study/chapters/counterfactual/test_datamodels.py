"""The linear datamodeling score: by a loop, where the truth is known, and of chance."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ifcore import linear
from study.chapters.counterfactual import datamodels, subsets
from study.datasets import digits

SIZE, EXPLAINED, HALVES, DECAY = 60, 15, 40, 0.1


def lds(scores, halves, losses):
    return datamodels.compare({"exact": scores}, halves, losses, range(len(scores)), 0)[0]["exact"][0]


@given(
    arrays(float, (3, 8), elements=st.integers(-5, 5).map(float)),
    arrays(float, (10, 3), elements=st.integers(-5, 5).map(float)),
)
def test_lds_is_spearmans_correlation_of_sums_and_losses_example_by_example(scores, losses):
    halves = subsets.halves(8, 10, 0)
    for row in range(3):
        with mock.patch.object(datamodels, "RESAMPLES", 1):
            score = lds(scores[[row]], halves, losses[:, [row]])
        sums = [sum(scores[row, place] for place in range(8) if half[place]) for half in halves]
        if len(set(sums)) == 1 or len(set(losses[:, row])) == 1:
            assert score == 0
        else:
            assert score == pytest.approx(stats.spearmanr(sums, -losses[:, row]).statistic)


@pytest.fixture(scope="module")
def retrained():
    """Softmax regression: exact influence of each training point, and the losses after training on random halves."""
    train, val = digits.draw(None, SIZE, EXPLAINED, None, 0)
    scores = linear.exact_influence(linear.fit(train, 10, DECAY), train, val, DECAY)
    halves = subsets.halves(SIZE, HALVES, 0)

    def retrain(rows):
        part = linear.Points(*(each[torch.as_tensor(rows)] for each in train))
        return linear.losses(linear.fit(part, 10, DECAY), val).numpy()

    return scores.numpy(), halves, np.stack([retrain(np.flatnonzero(row)) for row in halves]), retrain


def test_exact_influence_predicts_retraining_of_a_linear_model(retrained):
    scores, halves, losses, _ = retrained
    assert lds(scores, halves, losses) > 0.9


def test_removal_by_exact_influence_beats_random_removal(retrained):
    scores, _, _, retrain = retrained
    top = np.argsort(-scores.sum(0))[:20]
    random = np.random.default_rng(0)
    drawn = [retrain(random.permutation(SIZE)[20:]).mean() for _ in range(30)]
    without = retrain(np.setdiff1d(np.arange(SIZE), top)).mean()
    assert stats.ttest_1samp(drawn, without, alternative="less").pvalue < 0.01


def test_the_interval_of_a_random_score_holds_nothing_and_that_of_the_truth_does_not(retrained):
    scores, halves, losses, _ = retrained
    random = np.random.default_rng(1)
    scores_of_chance = {str(draw): random.normal(size=scores.shape) for draw in range(20)}
    estimates, _ = datamodels.compare(scores_of_chance, halves, losses, list(range(EXPLAINED)), 0)
    assert sum(low <= 0 <= high for _, low, high in estimates.values()) >= 17
    both = {"exact": scores, "random": scores_of_chance["0"]}
    estimates, leads = datamodels.compare(both, halves, losses, range(EXPLAINED), 0)
    value, low, high = estimates["exact"]
    assert 0 < low <= value <= high
    assert leads["exact", "random"][1] > 0 and ("random", "exact") not in leads  # a control is ahead of nobody
