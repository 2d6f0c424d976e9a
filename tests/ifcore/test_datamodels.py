"""The linear datamodeling score against worlds whose truth is known."""

import numpy as np
import pytest
import torch
from scipy import stats

from ifcore import linear
from ifcore.datamodels import ceiling, contributions, estimate, interval_of_mean, lds, stratified_halves


def test_halves_keep_half_of_every_class_and_a_count_of_labels_scores_nothing():
    labels = np.array(["a"] * 8 + ["b"] * 5 + ["c", "d"])
    halves = stratified_halves(labels, 50, seed=3)
    for name, count in (("a", 4), ("b", 2)):
        assert set(halves[:, labels == name].sum(1)) == {count}
    assert set(halves[:, -2:].sum(1)) == {1} and len({mask.tobytes() for mask in halves}) == 50
    losses = np.random.default_rng(0).random((50, 3))
    of_label = (labels == "a").astype(float)[None].repeat(3, 0)
    assert lds(of_label, halves, losses).value == 0 and lds(of_label * 0.1 + 0.2, halves, losses).value == 0


def test_it_is_spearmans_correlation_averaged_over_explained_examples():
    random = np.random.default_rng(1)
    scores, losses = random.random((5, 20)), random.random((12, 5))
    halves = stratified_halves([0] * 20, 12, seed=0)
    expected = [stats.spearmanr(halves @ row, -losses[:, m]).statistic for m, row in enumerate(scores)]
    np.testing.assert_allclose(lds(scores, halves, losses).value, np.mean(expected), rtol=1e-12)
    repeated = [random.random((12, 5)) for _ in range(2)]
    expected = [stats.spearmanr(repeated[0][:, m], repeated[1][:, m]).statistic for m in range(5)]
    np.testing.assert_allclose(ceiling(*repeated).value, np.mean(expected), rtol=1e-12)


def test_clusters_of_one_change_nothing_and_doubled_examples_are_no_news():
    random = np.random.default_rng(2)
    scores, losses, halves = random.random((6, 20)), random.random((16, 6)), stratified_halves([0] * 20, 16, seed=0)
    whole, again = lds(scores, halves, losses), lds(scores, halves, losses, clusters=list("abcdef"))
    assert vars(whole) == pytest.approx(vars(again))
    doubled = lds(scores.repeat(2, 0), halves, losses.repeat(2, 1), clusters=[c for c in "abcdef" for _ in "12"])
    assert vars(doubled) == pytest.approx(vars(whole))


def test_the_interval_of_random_scores_holds_nothing_in_95_of_100_draws():
    random, held = np.random.default_rng(4), 0
    causes = random.standard_normal((40, 40)) + 2 * random.standard_normal(40)  # of losses that move together
    for draw in range(400):
        halves = stratified_halves(np.arange(40) % 2, 16, seed=draw)
        losses = halves @ causes.T + 3 * random.standard_normal((16, 40))
        value = lds(random.random((40, 40)), halves, losses)
        held += value.low <= 0 <= value.high
    assert 0.93 <= held / 400 <= 0.97


@pytest.mark.parametrize(("count", "explained", "alike"), [(8, 1, 0.9), (16, 10, 0.2), (16, 40, 0.9)])
def test_the_interval_holds_what_many_halves_say_in_nine_of_ten_worlds_or_more(count, explained, alike):
    random, held = np.random.default_rng(5), 0
    for draw in range(120):
        own = np.sqrt(1 - alike) * random.standard_normal((explained, 40))
        causes = np.sqrt(alike) * random.standard_normal(40) + own
        scores = 0.7 * causes + 0.7 * random.standard_normal((explained, 40))

        def score(seed, causes=causes, scores=scores):
            halves = stratified_halves(np.arange(40) % 2, count, seed)
            losses = -1.0 * halves @ causes.T + random.standard_normal((count, explained))
            return lds(scores, halves, losses)

        value, truth = score(draw), np.mean([score(1000 + seed).value for seed in range(20)])
        held += value.low <= truth <= value.high
    assert held / 120 >= 0.9


def test_a_lead_is_paired():
    random = np.random.default_rng(6)
    halves, causes = stratified_halves([0] * 30, 16, seed=0), random.standard_normal((10, 30))
    losses = -1.0 * halves @ causes.T + random.standard_normal((16, 10))
    close = {noise: causes + noise * random.standard_normal(causes.shape) for noise in (0.3, 0.6)}
    parts = {noise: contributions(scores, halves, losses) for noise, scores in close.items()}
    lead = estimate(parts[0.3] - parts[0.6], is_correlation=False)
    apart = [estimate(part) for part in parts.values()]
    assert lead.value == pytest.approx(apart[0].value - apart[1].value)
    assert lead.high - lead.low < sum(value.high - value.low for value in apart) / 2


def test_exact_influence_of_softmax_regression_ranks_retrained_halves():
    random = torch.Generator().manual_seed(0)
    x = torch.randn(240, 5, generator=random, dtype=torch.float64)
    truth = torch.randn(3, 5, generator=random, dtype=torch.float64)
    y = (x @ truth.T + torch.randn(240, 3, generator=random, dtype=torch.float64)).argmax(1)
    train, val = slice(0, 200), slice(200, 240)
    points = linear.Points(x[train], y[train])
    explained = linear.Points(x[val], y[val])
    scores = linear.exact_influence(linear.fit(points, 3, decay=0.1), points, explained, damping=0.1)
    halves = stratified_halves(y[train].tolist(), 16, seed=0)
    losses = []
    for mask in torch.from_numpy(halves):
        kept = linear.Points(points.inputs[mask], points.labels[mask])
        share = mask.double().mean().item()  # the mean over all, in which what is left out weighs nothing
        losses.append(linear.losses(linear.fit(kept, 3, decay=0.1 / share), explained))
    value = lds(scores, halves, torch.stack(losses).numpy())
    assert value.low > 0.9 and value.value > 0.95


def test_the_mean_has_students_interval():
    values = np.random.default_rng(7).random(9)
    low, high = stats.t.interval(0.95, 8, values.mean(), stats.sem(values))
    assert vars(interval_of_mean(values)) == pytest.approx({"value": values.mean(), "low": low, "high": high})


def test_what_is_not_finite_is_refused_and_so_are_clusters_of_another_number():
    scores, losses, halves = np.ones((3, 8)), np.random.default_rng(0).random((6, 3)), stratified_halves([0] * 8, 6, 0)
    with pytest.raises(ValueError, match="scores: 6 are not finite"):
        lds(np.where(np.eye(3, 8) == 1, np.nan, scores)[:1], halves, losses[:, :1])
    with pytest.raises(ValueError, match="losses: 1 are not finite"):
        lds(scores, halves, np.where(np.eye(6, 3)[:1].repeat(6, 0).cumsum(0) == 1, np.nan, losses) * 1.0)
    with pytest.raises(ValueError, match="clusters: 2 for 3 explained examples"):
        lds(scores, halves, losses, clusters=["a", "b"])


def test_too_few_subsets_are_refused():
    with pytest.raises(ValueError, match="subsets: 3; an interval takes 4 or more"):
        estimate(np.zeros((5, 3)))


def test_the_ceiling_of_a_mean_of_retrainings_is_what_as_many_others_reach():
    """Spearman and Brown's formula beside means of three against three others."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(400, 30))
    one, other, *rest = (truth + 1.2 * rng.normal(size=truth.shape) for _ in range(6))
    single = ceiling(one, other)
    lifted = ceiling(one, other, retrainings=3)
    r = single.value
    assert lifted.value == pytest.approx(3 * r / (1 + 2 * r)) and lifted.low < lifted.value < lifted.high
    reached = ceiling(np.mean([one, *rest[:2]], axis=0), np.mean([other, *rest[2:]], axis=0))
    assert lifted.value == pytest.approx(reached.value, abs=0.02)
