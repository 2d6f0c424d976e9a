"""A two-layer linear classifier under stochastic gradient descent: how far its parameters move, and to what end."""

import pandas as pd
import torch
from torch import Tensor, nn

from ifcore.linear import Points


def train(
    train: Points, test: Points, classes: int, width: int, epochs: int, rate: float, seed: int = 0, batch: int = 32
) -> pd.DataFrame:
    """Train softmax(W₂ W₁ x), W₁ [width, D], W₂ [classes, width], on the mean cross-entropy; a row an epoch, from 0.

    `delta`: ‖θ − θ₀‖₂ over all width·(D + classes) parameters; `train_loss` in nats; `test_accuracy`. W₁ starts from
    N(0, 1/D) and W₂ at zero, like LoRA's A and B. Both at zero could not train: the gradient of each is a product
    with the other. Raises RuntimeError where training diverges.
    """
    generator = torch.Generator().manual_seed(seed)
    features = train.inputs.shape[1]
    W1 = torch.randn(width, features, dtype=torch.float64, generator=generator) / features**0.5
    start = [W1, torch.zeros(classes, width, dtype=torch.float64)]
    weights = [nn.Parameter(weight.clone()) for weight in start]
    optimiser = torch.optim.SGD(weights, lr=rate)

    def logits(inputs: Tensor) -> Tensor:
        return inputs @ weights[0].T @ weights[1].T

    rows = []
    for epoch in range(epochs + 1):
        for chosen in torch.randperm(len(train.labels), generator=generator).split(batch) if epoch else ():
            optimiser.zero_grad()
            nn.functional.cross_entropy(logits(train.inputs[chosen]), train.labels[chosen]).backward()
            optimiser.step()
        with torch.no_grad():
            squares = [(weight - before).square().sum() for weight, before in zip(weights, start, strict=True)]
            loss = nn.functional.cross_entropy(logits(train.inputs), train.labels)
            if not loss.isfinite():
                raise RuntimeError(f"learning_rate: {rate}; training diverged in epoch {epoch}; lower it")
            accuracy = (logits(test.inputs).argmax(1) == test.labels).double().mean()
        rows.append((epoch, torch.stack(squares).sum().sqrt().item(), loss.item(), accuracy.item()))
    return pd.DataFrame(rows, columns=["epoch", "delta", "train_loss", "test_accuracy"])
