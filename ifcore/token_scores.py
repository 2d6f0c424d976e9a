"""Which tokens of a training example carry its score."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ifcore import hooks, trainable
from ifcore.batches import Batch
from ifcore.gram import Gram
from ifcore.losses import device_of, evaluating, example_losses


def direction(
    train: Mapping[str, Tensor], val: Mapping[str, Tensor], row: int, method: str = "exact", damping: float = 0.1
) -> dict[str, Tensor]:
    """Block -> u_b [P_b] in float64, of which a training example's score for validation example `row` is Σ_b u_b · g_b.

    `gradsim`: u_b = v_b. `exact`: u_b = (H_b + λ_b I)⁻¹ v_b = (v_b − G_bᵀ (K_b + N λ_b I)⁻¹ G_b v_b) / λ_b, by the
    Woodbury identity; 0 for a block without gradients. Raises ValueError for another method.
    """
    if method not in ("gradsim", "exact"):
        raise ValueError(f"method: {method!r}; choose gradsim or exact")
    directions = {}
    for block in train:
        v = val[block][:, :][row].double()
        if method == "exact":
            gram = Gram.from_gradients({block: train[block]}, {block: val[block]})
            (lam,), (K,), (C,) = gram.damping(damping), gram.K, gram.C
            if lam > 0:
                shifted = K + len(K) * lam * torch.eye(len(K), dtype=K.dtype, device=K.device)
                v = (v - train[block][:, :].double().T @ torch.linalg.solve(shifted, C[row])) / lam
            else:
                v = torch.zeros_like(v)
        directions[block] = v
    return directions


def by_token(model: nn.Module, batch: Batch, direction: Mapping[str, Tensor]) -> Tensor:
    """Each token's share of each example's score, [b, T]: Σ_b δ_tᵀ U_b x_t, whose sum over t is Σ_b u_b · g_b.

    A token counts where the adapter works on it: the score of a response is carried by prompt tokens, too, which it
    attends to. Raises ValueError where a block is no linear map, whose gradient is no sum over tokens.
    """
    parameters = trainable.trainable_parameters(model)
    with (
        evaluating(model),
        trainable.requiring_grad(parameters),
        hooks.captured(trainable.adapted_linears(model)) as calls,
    ):
        batch = batch.to(device_of(model))
        losses = example_losses(model, batch)
        pairs, _ = hooks.backward(losses, hooks.fitting(calls, batch))
    shares = torch.zeros(batch.input_ids.shape, dtype=torch.float64)
    for block, delta, x in pairs:
        U = direction[block].reshape(delta.shape[-1], x.shape[-1]).to(delta.device)
        shares += torch.einsum("bto,oi,bti->bt", delta.double(), U.double(), x.double()).cpu()
    if left := sorted(direction.keys() - {block for block, _, _ in pairs}):
        raise ValueError(f"direction: {left[0]} is no linear map; only the gradients of those are sums over tokens")
    return shares
