import pytest
import torch

from ifcore.linear import Points
from study.chapters.parameter_change import two_layer
from study.datasets import digits


def test_the_history_is_that_of_the_same_steps_with_gradients_by_hand():
    (train, test), others = (digits.draw(None, 40, 20, None, seed) for seed in (0, 1))
    table = two_layer.train((others[0], train), (others[1], test), 10, 3, epochs=2, rate=0.1, seeds=(4, 5), batch=16)
    history = table[table.draw == 1].reset_index()
    generator = torch.Generator().manual_seed(5)
    first = torch.randn(3, 64, dtype=torch.float64, generator=generator) / 8
    W1, W2 = first.clone(), torch.zeros(10, 3, dtype=torch.float64)
    for epoch in range(3):
        if epoch:
            for chosen in torch.randperm(40, generator=generator).split(16):
                x, hidden = train.inputs[chosen], train.inputs[chosen] @ W1.T
                target = torch.nn.functional.one_hot(train.labels[chosen], 10)
                delta = ((hidden @ W2.T).softmax(1) - target) / len(chosen)
                W1, W2 = W1 - 0.1 * (delta @ W2).T @ x, W2 - 0.1 * delta.T @ hidden
        moved = ((W1 - first).square().sum() + W2.square().sum()).sqrt().item()
        right = ((test.inputs @ W1.T @ W2.T).argmax(1) == test.labels).double().mean().item()
        assert history.delta[epoch] == pytest.approx(moved)
        assert history.test_accuracy[epoch] == pytest.approx(right)


def test_it_learns_digits_and_two_zero_layers_could_not():
    train, test = digits.draw(None, 500, 300, None, seed=0)
    assert two_layer.train([train], [test], 10, 16, epochs=15, rate=0.1, seeds=[0]).test_accuracy.iloc[-1] > 0.85
    W1, W2 = torch.zeros(4, 64, requires_grad=True), torch.zeros(10, 4, requires_grad=True)
    points = Points(train.inputs.float(), train.labels)
    torch.nn.functional.cross_entropy(points.inputs @ W1.T @ W2.T, points.labels).backward()
    assert not W1.grad.any() and not W2.grad.any()


def test_a_rate_at_which_training_diverges_is_named():
    train, test = digits.draw(None, 64, 32, None, seed=0)
    with pytest.raises(RuntimeError, match=r"learning_rate: 1e\+200; training diverged in epoch \d; lower it"):
        two_layer.train([train], [test], 10, 4, 3, 1e200, [0])
