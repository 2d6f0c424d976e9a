"""Methods that take more than one Gram of gradients: each from `Inputs` to its scores [M, N]."""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from ifcore import influence, trainable
from ifcore.batches import Batch
from ifcore.checkpoints import Checkpoint, preconditioner, spent_between, wearing
from ifcore.ekfac import block_groups, ekfac, gather_factors
from ifcore.gradients import Factors
from ifcore.inputs import Inputs, Stacked
from ifcore.representation_gradients import choose_layer, features, rept
from ifcore.representations import repsim
from ifcore.sampled_labels import sample_labels
from ifcore.source import source
from ifcore.training import read_settings
from ifcore.unrolled import unrolled


def repsim_scores(inputs: Inputs) -> Tensor:
    """RepSim at the prompts' ends; of a contrast, of its prompt."""
    return repsim(inputs.states["train"], inputs.states["val"])


def rept_scores(inputs: Inputs) -> Tensor:
    """RepT, at the layer where the training examples' states change most; of a contrast, its prompt's state with the
    gradient of the difference."""
    layer = choose_layer(inputs.model, inputs.batches["train"])
    train, val = (features(inputs.model, inputs.batches[part], layer, inputs.bar(part)) for part in ("train", "val"))
    state, gradient = val.chunk(2, dim=1)
    gradient = inputs.combinations.to(gradient) @ gradient
    return rept(train, torch.cat([state[: inputs.count], gradient], 1))


def ekfac_scores(inputs: Inputs, damping: float) -> Tensor:
    """EK-FAC of the empirical Fisher, as many blocks at a time as have factors in a quarter of the budget."""
    train, val = inputs.train, inputs.val  # the pass over train may gather the first factors
    totals: list[Tensor] = []
    for group in block_groups(inputs.model, inputs.budget // 4):
        factors = inputs.factors if group[0] in inputs.factors else _factors(inputs, inputs.batches["train"], group)
        rows, explained = ({block: part[block] for block in group} for part in (train, val))
        totals.append(ekfac(rows, explained, factors, damping))
        factors.clear()  # as large as the gradients
    return reduce(torch.add, totals)


def ekfac_sampled_scores(inputs: Inputs, damping: float) -> Tensor:
    """EK-FAC of the Fisher of labels drawn from the model."""
    sampled = sample_labels(inputs.model, inputs.batches["train"])
    fisher, totals = inputs.rows("sampled", sampled), list[Tensor]()
    for group in block_groups(inputs.model, inputs.budget // 4):
        factors = _factors(inputs, sampled, group)
        train, val, drawn = ({block: part[block] for block in group} for part in (inputs.train, inputs.val, fisher))
        totals.append(ekfac(train, val, factors, damping, drawn))
    return reduce(torch.add, totals)


def adam_scores(inputs: Inputs) -> Tensor:
    """GradSim as Adam scaled the last checkpoint's step."""
    weights = preconditioner(inputs.checkpoints[-1].folder)
    return reduce(torch.add, map(influence.gradsim, inputs.grams(weights=weights)))


def tracin_scores(inputs: Inputs) -> Tensor:
    """GradSim at each checkpoint, with the learning rate spent around it."""
    products = []
    for checkpoint in inputs.checkpoints:
        with inputs.at(checkpoint) as there:
            products.append(reduce(torch.add, map(influence.gradsim, there.grams())))
    return influence.tracin(products, spent_between(inputs.checkpoints))


def source_scores(inputs: Inputs) -> Tensor:
    """SOURCE over the checkpoints after the first step, preconditioned where Adam's moments are there."""
    checkpoints = [checkpoint for checkpoint in inputs.checkpoints if checkpoint.spent > 0]
    segments = next(count for count in (3, 2, 1) if len(checkpoints) % count == 0)
    size, parts = len(checkpoints) // segments, []
    for checkpoint in checkpoints:
        with inputs.at(checkpoint) as there:
            parts.append(there.train)
    ends = [0.0, *(checkpoints[end].spent for end in range(size - 1, len(checkpoints), size))]
    rates = [after - before for before, after in zip(ends, ends[1:], strict=False)]
    grams = inputs.grams(Stacked(parts), _weights(checkpoints))
    return reduce(torch.add, (source(gram, len(checkpoints), segments, rates) for gram in grams))


def unrolled_scores(inputs: Inputs) -> Tensor:
    """The derivative of the fine-tune as it ran, from its first checkpoint on and with its settings."""
    start, settings = inputs.checkpoints[0], read_settings(inputs.checkpoints[0].folder.parent)
    if start.spent > 0:
        raise ValueError(f"checkpoints: {start.folder} is the first, after some steps; unrolled needs that before all")
    parameters = trainable.trainable_parameters(inputs.model)
    with wearing(inputs.model, start.folder), trainable.requiring_grad(parameters):
        train, label = list(inputs.tokens["train"]), "unrolled" if inputs.progress else ""
        scores = unrolled(
            inputs.model, train, inputs.batches["val"], settings, targets=inputs.combinations, progress=label
        )
    return scores


def _factors(inputs: Inputs, batches: Sequence[Batch], group: Sequence[str]) -> Factors:
    return gather_factors(inputs.model, batches, inputs.bar("factors"), group)


def _weights(checkpoints: Sequence[Checkpoint]) -> dict[str, Tensor] | None:
    """Adam's, where every checkpoint has its moments."""
    try:
        return preconditioner(*(checkpoint.folder for checkpoint in checkpoints))
    except ValueError:
        return None
