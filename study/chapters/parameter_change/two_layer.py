"""Two-layer linear classifiers under stochastic gradient descent: how far their parameters move, and to what end."""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from ifcore.linear import Points


def train(
    train: Sequence[Points],
    test: Sequence[Points],
    classes: int,
    width: int,
    epochs: int,
    rate: float,
    seeds: Sequence[int],
    batch: int = 32,
) -> pd.DataFrame:
    """Train softmax(W₂ W₁ x), W₁ [width, D], W₂ [classes, width], on the mean cross-entropy of each draw's points.

    A draw has its own points, as many as the others, and its own seed, which decides start and order. All are trained
    side by side, faster than one by one. A row for each (`draw`, `epoch`), epochs from 0. `delta`: ‖θ − θ₀‖₂ over all
    width·(D + classes) parameters; `train_loss` in nats; `test_accuracy`. W₁ starts from N(0, 1/D) and W₂ at zero, like
    LoRA's A and B. Both at zero could not train: the gradient of each is a product with the other. Raises RuntimeError
    where training diverges.
    """
    inputs, labels = _stacked(train)  # [draws, n, D], [draws, n]
    test_inputs, test_labels = _stacked(test)
    draws, count, features = inputs.shape
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    W1 = torch.stack([torch.randn(width, features, dtype=torch.float64, generator=g) for g in generators])
    start = [W1 / features**0.5, torch.zeros(draws, classes, width, dtype=torch.float64)]
    weights = [nn.Parameter(weight.clone()) for weight in start]
    optimiser = torch.optim.SGD(weights, lr=rate)

    def logits(x: Tensor) -> Tensor:  # [draws, n, classes]
        return x @ weights[0].mT @ weights[1].mT

    def losses(x: Tensor, y: Tensor) -> Tensor:  # [draws]
        return nn.functional.cross_entropy(logits(x).transpose(1, 2), y, reduction="none").mean(1)

    rows, draw = [], torch.arange(draws)[:, None]
    for epoch in range(epochs + 1):
        orders = [torch.randperm(count, generator=g) for g in generators] if epoch else []
        for chosen in torch.stack(orders).split(batch, dim=1) if orders else ():
            optimiser.zero_grad()
            losses(inputs[draw, chosen], labels[draw, chosen]).sum().backward()
            optimiser.step()
        with torch.no_grad():
            moved = zip(weights, start, strict=True)
            squares = [(weight - before).square().sum((1, 2)) for weight, before in moved]
            loss = losses(inputs, labels)
            if not loss.isfinite().all():
                raise RuntimeError(f"learning_rate: {rate}; training diverged in epoch {epoch}; lower it")
            accuracy = (logits(test_inputs).argmax(2) == test_labels).double().mean(1)
        columns = torch.stack(squares).sum(0).sqrt().tolist(), loss.tolist(), accuracy.tolist()
        rows += [(number, epoch, *values) for number, values in enumerate(zip(*columns, strict=True))]
    return pd.DataFrame(rows, columns=["draw", "epoch", "delta", "train_loss", "test_accuracy"])


def _stacked(points: Sequence[Points]) -> tuple[Tensor, Tensor]:
    return torch.stack([part.inputs for part in points]), torch.stack([part.labels for part in points])
