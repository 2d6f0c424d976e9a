import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ifcore import influence
from ifcore.gram import Gram
from ifcore.methods import METHODS, OF_GRAM

SIZES = st.lists(st.integers(1, 20), min_size=1, max_size=3)
CASES = st.tuples(st.integers(0, 999), st.integers(1, 8), st.integers(1, 4), SIZES)
DAMPINGS = st.sampled_from([1e-3, 0.1, 2.0])


def gradients(seed, n, m, sizes):
    """Block -> gradients [n, P_b] of training examples, and [m, P_b] of validation examples."""
    generator = torch.Generator().manual_seed(seed)
    train, val = (
        {f"b{i}": torch.randn(k, p, generator=generator, dtype=torch.float64) for i, p in enumerate(sizes)}
        for k in (n, m)
    )
    return train, val


def dense_blocks(train, val, damping):
    """For each block: G [N, P], V [M, P], λ, and the damped empirical Fisher [P, P]."""
    for name, G in train.items():
        lam = damping * (G**2).mean()
        H = torch.stack([torch.outer(g, g) for g in G]).mean(0)
        yield G, val[name], lam, H + lam * torch.eye(G.shape[1], dtype=G.dtype)


def assert_equal(scores, expected):
    assert scores.shape == expected.shape
    assert (scores - expected).norm() <= 1e-9 * expected.norm()


@settings(deadline=None, max_examples=40)
@given(CASES)
def test_gradsim_is_the_inner_product_of_whole_gradients(case):
    train, val = gradients(*case)
    expected = torch.cat(list(val.values()), 1) @ torch.cat(list(train.values()), 1).T
    assert_equal(influence.gradsim(Gram.from_gradients(train, val)), expected)


@settings(deadline=None, max_examples=40)
@given(CASES)
def test_cosine_is_that_of_whole_gradients(case):
    train, val = (torch.cat(list(part.values()), 1) for part in gradients(*case))
    expected = torch.nn.functional.cosine_similarity(val[:, None], train[None], dim=2)
    assert_equal(influence.cosine(Gram.from_gradients(*gradients(*case))), expected)


@settings(deadline=None, max_examples=40)
@given(CASES, DAMPINGS)
def test_relatif_is_exact_over_the_distance_that_an_example_moves_the_parameters(case, damping):
    train, val = gradients(*case)
    scores, squares = 0, 0
    for G, V, _, H in dense_blocks(train, val, damping):
        steps = torch.linalg.solve(H, G.T)
        scores, squares = scores + V @ steps, squares + steps.square().sum(0)
    assert_equal(influence.relatif(Gram.from_gradients(train, val), damping), scores / squares.sqrt())


@pytest.mark.parametrize("method", [influence.cosine, influence.relatif])
def test_a_relative_score_is_0_where_either_gradient_is_zero(method):
    train, val = gradients(6, 5, 2, [7, 3])
    for name in train:
        train[name][4], val[name][1] = 0, 0
    scores = method(Gram.from_gradients(train, val))
    assert torch.equal(scores[:, 4], torch.zeros(2).double()) and torch.equal(scores[1], torch.zeros(5).double())
    assert scores[0, :4].all() and scores.isfinite().all()


def test_tracin_is_the_sum_over_checkpoints_of_rate_times_inner_product():
    checkpoints = [gradients(seed, 5, 2, [7, 3]) for seed in range(3)]
    rates = [0.5, 0.25, 0.125]
    expected = torch.zeros(2, 5, dtype=torch.float64)
    for (train, val), rate in zip(checkpoints, rates, strict=True):
        for m, i in itertools.product(range(2), range(5)):
            expected[m, i] += rate * sum(float(val[name][m].dot(train[name][i])) for name in train)
    products = [influence.gradsim(Gram.from_gradients(*checkpoint)) for checkpoint in checkpoints]
    assert_equal(influence.tracin(products, rates), expected)


@pytest.mark.parametrize(
    ("shapes", "rates", "message"),
    [
        ([(2, 5)], [0.1, 0.2], "rates: 2 for 1 products; give one for each checkpoint"),
        ([], [], "rates: 0 for 0 products; give one for each checkpoint, 1 or more"),
        ([(2, 5), (2, 4)], [0.1, 0.2], r"products: shapes \[\(2, 4\), \(2, 5\)\]; give the same examples"),
    ],
)
def test_checkpoints_that_do_not_match_are_refused(shapes, rates, message):
    with pytest.raises(ValueError, match=message):
        influence.tracin([torch.zeros(shape) for shape in shapes], rates)


@settings(deadline=None, max_examples=40)
@given(CASES, DAMPINGS)
def test_exact_equals_the_dense_inverse_of_the_damped_fisher(case, damping):
    train, val = gradients(*case)
    expected = sum(V @ torch.linalg.solve(H, G.T) for G, V, _, H in dense_blocks(train, val, damping))
    assert_equal(influence.exact(Gram.from_gradients(train, val), damping), expected)


@settings(deadline=None, max_examples=40)
@given(CASES, DAMPINGS)
def test_datainf_equals_the_mean_of_the_dense_inverses(case, damping):
    """The tolerance allows for rounding in terms that cancel, which are as large as the products over the damping."""
    train, val = gradients(*case)
    expected = terms = 0
    for G, V, lam, _ in dense_blocks(train, val, damping):
        eye = lam * torch.eye(G.shape[1], dtype=G.dtype)
        inverse = torch.stack([torch.linalg.inv(torch.outer(g, g) + eye) for g in G]).mean(0)
        expected = expected + V @ inverse @ G.T
        terms += float(V.norm() * G.norm() / lam)
    scores = influence.datainf(Gram.from_gradients(train, val), damping)
    assert (scores - expected).norm() <= 1e-9 * expected.norm() + 1e-14 * terms


@settings(deadline=None, max_examples=40)
@given(CASES, DAMPINGS, st.integers(0, 12))
def test_lissa_equals_its_recursion_on_parameter_vectors(case, damping, iterations):
    train, val = gradients(*case)
    expected = 0
    for G, V, _, H in dense_blocks(train, val, damping):
        alpha = 1 / torch.linalg.eigvalsh(H)[-1]
        r = V
        for _ in range(iterations):
            r = V + r - alpha * r @ H
        expected = expected + alpha * r @ G.T
    assert_equal(influence.lissa(Gram.from_gradients(train, val), iterations, damping), expected)


@pytest.mark.parametrize("kind", ["random", "one direction", "all alike", "few directions", "two alike"])
def test_the_largest_eigenvalue_of_a_large_matrix_is_that_of_its_whole_decomposition(kind):
    N = influence.LANCZOS + 60
    generator = torch.Generator().manual_seed(0)
    G = torch.randn(N, 2 * N, generator=generator, dtype=torch.float64)
    K = {
        "random": G @ G.T,
        "one direction": (G + 30).matmul((G + 30).T),
        "all alike": torch.eye(N, dtype=torch.float64),
        "few directions": G[:, :3] @ G[:, :3].T,
        "two alike": torch.diag(torch.tensor([5.0, 5.0] + [1.0] * (N - 2), dtype=torch.float64)),
    }[kind]
    expected = torch.linalg.eigvalsh(K)[-1]
    assert abs(influence._largest(K) - expected) < 1e-12 * expected


def test_lissa_converges_to_exact():
    gram = Gram.from_gradients(*gradients(3, 8, 3, [20, 5]))
    limit = influence.exact(gram, 0.1)
    errors = [float((influence.lissa(gram, steps, 0.1) - limit).norm()) for steps in (0, 10, 100, 1000, 5000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9 * float(limit.norm())


def test_exact_is_minus_the_change_of_a_validation_loss_when_a_training_example_gains_weight():
    """Equation 3 by differentiating through the fit itself.

    Least squares with an optimum at which every residual is ±1: there the empirical Fisher, the mean of
    x_i x_iᵀ, is the Hessian. The damping is a penalty on the distance from an origin chosen to that end.
    """
    generator = torch.Generator().manual_seed(0)
    X, theta, X_val, y_val = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((7, 5), (5,), (3, 5), (3,))
    )
    residuals = torch.tensor([1, -1, 1, 1, -1, 1, -1], dtype=torch.float64)
    y, lam = X @ theta - residuals, 0.1 * (X**2).mean()
    eye = torch.eye(5, dtype=torch.float64)
    origin = theta + X.T @ residuals / (7 * lam)

    def fit(extra):
        """arg min_θ Σ_i (1/N + extra_i) (x_i·θ − y_i)²/2 + λ‖θ − origin‖²/2."""
        weighted = X.T * (1 / 7 + extra)
        return torch.linalg.solve(weighted @ X + lam * eye, weighted @ y + lam * origin)

    def losses(theta, X, y):
        return (X @ theta - y) ** 2 / 2

    no_extra = torch.zeros(7, dtype=torch.float64)
    torch.testing.assert_close(fit(no_extra), theta)
    jacobian = torch.autograd.functional.jacobian
    train = {"theta": jacobian(lambda t: losses(t, X, y), theta)}
    val = {"theta": jacobian(lambda t: losses(t, X_val, y_val), theta)}
    change = jacobian(lambda extra: losses(fit(extra), X_val, y_val), no_extra)
    assert_equal(influence.exact(Gram.from_gradients(train, val), 0.1), -change)


# Not the cosine: a validation gradient counts there with its whole length.
@pytest.mark.parametrize("method", [key for key in OF_GRAM if key != "cosine"])
@pytest.mark.parametrize("val_row", [torch.zeros(9), torch.ones(9)])
def test_a_block_without_a_training_gradient_adds_nothing(method, val_row):
    """lora_A of an untouched adapter: B is zero, and so is the gradient of A."""
    train, val = gradients(4, 6, 2, [7])
    expected = METHODS[method].function(Gram.from_gradients(train, val))
    zero = {"zero": torch.zeros(6, 9)}, {"zero": val_row.expand(2, 9)}
    scores = METHODS[method].function(Gram.from_gradients(train | zero[0], val | zero[1]))
    assert torch.equal(scores, expected)
    assert torch.equal(METHODS[method].function(Gram.from_gradients(*zero)), torch.zeros(2, 6).double())


def test_a_training_example_is_most_influential_on_itself():
    train, _ = gradients(5, 6, 1, [40])
    gram = Gram.from_gradients(train, train)
    for method in OF_GRAM:
        assert METHODS[method].function(gram).argmax(1).tolist() == list(range(6))


@pytest.mark.parametrize("method", ["datainf", "lissa", "exact", "relatif"])
@pytest.mark.parametrize("damping", [0, -1, float("nan")])
def test_a_damping_that_is_not_above_0_is_refused(method, damping):
    gram = Gram.from_gradients(*gradients(0, 3, 2, [4]))
    with pytest.raises(ValueError, match=f"damping: {damping}; must be a finite number above 0"):
        METHODS[method].function(gram, damping=damping)


def test_a_negative_number_of_iterations_is_refused():
    with pytest.raises(ValueError, match="iterations: -1; must be 0 or more"):
        influence.lissa(Gram.from_gradients(*gradients(0, 3, 2, [4])), iterations=-1)
