"""Softmax regression against autograd's Hessian, a dense solve, and retraining."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from ifcore import linear
from ifcore.linear import Points
from study.datasets import digits

DECAY = 0.05


def points(n, features, classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(n, features, dtype=torch.float64, generator=generator)
    labels = torch.randint(classes, (n,), generator=generator)
    return Points(inputs, labels)


def hessian(weights, train, damping):
    def risk(flat):
        logits = train.inputs @ flat.view(weights.shape).T
        return torch.nn.functional.cross_entropy(logits, train.labels)

    return torch.func.hessian(risk)(weights.flatten()) + damping * torch.eye(weights.numel(), dtype=torch.float64)


shapes = st.tuples(st.integers(2, 12), st.integers(1, 20), st.integers(2, 5), st.integers(0, 1_000))


@settings(max_examples=25, deadline=None)
@given(shape=shapes, decay=st.floats(1e-3, 1.0))
def test_exact_influence_is_that_of_autograds_hessian_and_a_dense_solve(shape, decay):
    n, features, classes, seed = shape
    train, val = points(n, features, classes, seed), points(4, features, classes, seed + 1)
    weights = linear.fit(train, classes, decay)
    G, V = linear.gradients(weights, train), linear.gradients(weights, val)
    truth = V @ torch.linalg.solve(hessian(weights, train, decay), G.T)
    torch.testing.assert_close(linear.exact_influence(weights, train, val, decay), truth, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(linear.dense_influence(weights, train, val, decay), truth, rtol=1e-8, atol=1e-10)


def test_exact_influence_holds_at_two_thousand_parameters_and_at_a_model_that_is_no_minimum():
    train, val = points(15, 500, 4), points(6, 500, 4, seed=1)
    weights = torch.randn(4, 500, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) / 10
    truth = linear.gradients(weights, val) @ torch.linalg.solve(
        hessian(weights, train, 0.3), linear.gradients(weights, train).T
    )
    torch.testing.assert_close(linear.exact_influence(weights, train, val, 0.3), truth, rtol=1e-8, atol=1e-10)


def test_gradients_are_autograds_one_point_at_a_time():
    data, weights = points(5, 6, 3), torch.randn(3, 6, dtype=torch.float64)
    weights.requires_grad_(True)
    for i, row in enumerate(linear.gradients(weights, data).detach()):
        loss = torch.nn.functional.cross_entropy(data.inputs[i : i + 1] @ weights.T, data.labels[i : i + 1])
        torch.testing.assert_close(row, torch.autograd.grad(loss, weights)[0].flatten())


def test_lissa_converges_to_exact_and_starts_at_the_gradients_product():
    train, val = points(12, 20, 3), points(5, 20, 3, seed=1)
    weights = linear.fit(train, 3, DECAY)
    exact = linear.exact_influence(weights, train, val, DECAY)
    torch.testing.assert_close(linear.lissa(weights, train, val, DECAY, 5_000), exact, rtol=1e-8, atol=1e-10)
    first = linear.lissa(weights, train, val, DECAY, 0)
    product = linear.gradients(weights, val) @ linear.gradients(weights, train).T
    torch.testing.assert_close(first / first[0, 0], product / product[0, 0])


def test_lissa_takes_its_steps_with_the_hessian():
    train, val = points(6, 9, 3), points(4, 9, 3, seed=1)
    weights = linear.fit(train, 3, DECAY)
    H = hessian(weights, train, DECAY)
    alpha = 1 / (torch.linalg.eigvalsh(train.inputs @ train.inputs.T)[-1] / 12 + DECAY)
    v = linear.gradients(weights, val)
    r = v
    for _ in range(4):
        r = v + r - alpha * r @ H
    scores = linear.lissa(weights, train, val, DECAY, 4)
    torch.testing.assert_close(scores, alpha * r @ linear.gradients(weights, train).T)


def test_the_fit_is_scikit_learns():
    train = points(40, 6, 3)
    weights = linear.fit(train, 3, DECAY)
    classifier = LogisticRegression(C=1 / (len(train.labels) * DECAY), fit_intercept=False, tol=1e-12, max_iter=10_000)
    classifier.fit(train.inputs.numpy(), train.labels.numpy())
    np.testing.assert_allclose(weights.numpy(), classifier.coef_, atol=1e-5)


def test_predicted_leave_one_out_changes_correlate_with_retraining_above_99_percent():
    train, test = digits.draw(None, 60, 60, None, seed=0)
    weights = linear.fit(train, 10, 0.1)
    actual = (linear.losses(linear.leave_one_out(train, 10, 0.1), test) - linear.losses(weights, test)).mean(1)
    predicted = linear.exact_influence(weights, train, test, 0.1).mean(0) / len(train.labels)
    assert np.corrcoef(predicted, actual)[0, 1] > 0.99
    assert np.polyfit(predicted, actual, 1)[0] == pytest.approx(1, abs=0.3)


def test_leaving_one_out_is_training_on_the_others_with_the_mean_still_over_all():
    train = points(8, 5, 3)
    weights = linear.leave_one_out(train, 3, DECAY)[2]
    others = [i for i in range(8) if i != 2]

    def risk(flat):
        logits = train.inputs[others].numpy() @ flat.reshape(3, 5).T
        chosen = logits[range(7), train.labels[others]]
        return (np.log(np.exp(logits).sum(1)) - chosen).sum() / 8 + DECAY / 2 * (flat @ flat)

    truth = minimize(risk, np.zeros(15), method="BFGS", options={"gtol": 1e-7}).x
    np.testing.assert_allclose(weights.flatten().numpy(), truth, atol=1e-4)


def test_descent_ends_at_the_minimum_with_and_without_each_point():
    train = points(6, 4, 3)
    weights, without = list(linear.descend(train, 3, 0.3, [1, 2_000]))[-1]
    torch.testing.assert_close(weights, linear.fit(train, 3, 0.3), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(without, linear.leave_one_out(train, 3, 0.3), rtol=1e-6, atol=1e-8)


def test_descent_stopped_early_is_autograds_with_and_without_each_point():
    train, decay = points(6, 4, 3), 0.3
    bound = torch.linalg.eigvalsh(train.inputs @ train.inputs.T)[-1] / (2 * 6) + decay

    def descend(rows, steps):
        W = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
        for _ in range(steps):
            risk = linear.losses(W, Points(*(part[rows] for part in train))).sum() / 6 + decay / 2 * W.square().sum()
            W = (W - torch.autograd.grad(risk, W)[0] / bound).detach().requires_grad_()
        return W.detach()

    for steps, (weights, without) in zip((1, 7), linear.descend(train, 3, decay, (1, 7)), strict=True):
        torch.testing.assert_close(weights, descend(list(range(6)), steps))
        torch.testing.assert_close(without[4], descend([0, 1, 2, 3, 5], steps))


@pytest.mark.parametrize(
    ("classes", "decay", "message"), [(2, 0.1, "labels: must be 0 to 1"), (5, 0.0, "decay: 0.0; must be")]
)
def test_wrong_input_is_named(classes, decay, message):
    with pytest.raises(ValueError, match=message):
        linear.fit(points(20, 3, 5), classes, decay)


def test_a_damping_of_zero_is_refused():
    train = points(5, 3, 2)
    with pytest.raises(ValueError, match="damping: 0; must be"):
        linear.exact_influence(torch.zeros(2, 3, dtype=torch.float64), train, train, 0)
