"""Methods that take more than one Gram of gradients: each from `Inputs` to its scores [M, N]."""

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate, pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from ifcore import influence, trainable
from ifcore.batches import Batch
from ifcore.checkpoints import MOMENTS, Checkpoint, preconditioner, spent_between, wearing
from ifcore.ekfac import block_groups, check_linear, ekfac, gather_factors
from ifcore.forecast import size
from ifcore.gradients import Factors
from ifcore.inputs import Inputs, PerExample, Stacked
from ifcore.replay import check_precision
from ifcore.representation_gradients import choose_layer, features, rept
from ifcore.representations import repsim
from ifcore.sampled_labels import sample_labels
from ifcore.source import source
from ifcore.training import read_settings
from ifcore.unrolled import unrolled

SEGMENTS = 3  # of SOURCE


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
    """EK-FAC of the empirical Fisher."""
    _ = inputs.train  # the pass over the training examples may gather the first factors
    return _ekfac(inputs, damping, inputs.batches["train"], inputs.factors)


def ekfac_sampled_scores(inputs: Inputs, damping: float) -> Tensor:
    """EK-FAC of the Fisher of labels drawn from the model."""
    sampled = sample_labels(inputs.model, inputs.batches["train"])
    return _ekfac(inputs, damping, sampled, Factors(()), inputs.rows("sampled", sampled))


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
    """SOURCE over the checkpoints after the first step, in up to three segments of as many as can be; preconditioned
    where Adam's moments are there."""
    checkpoints = _trained(inputs)
    sizes = [len(part) for part in np.array_split(range(len(checkpoints)), min(SEGMENTS, len(checkpoints)))]
    parts = []
    for checkpoint in checkpoints:
        with inputs.at(checkpoint) as there:
            parts.append(there.train)
    ends = [0.0, *(checkpoints[count - 1].spent for count in accumulate(sizes))]
    rates = [after - before for before, after in pairwise(ends)]
    grams = inputs.grams(Stacked(parts), _weights(checkpoints))
    return reduce(torch.add, (source(gram, sizes, rates) for gram in grams))


def unrolled_scores(inputs: Inputs) -> Tensor:
    """The derivative of the fine-tune as it ran, from its first checkpoint on and with its settings."""
    first, last = inputs.checkpoints[0].folder, inputs.checkpoints[-1].folder
    parameters = trainable.trainable_parameters(inputs.model)
    with wearing(inputs.model, last):
        expected = parameters_to_vector(parameters.values()).detach().clone()
    with wearing(inputs.model, first), trainable.requiring_grad(parameters):
        return unrolled(
            inputs.model,
            list(inputs.tokens["train"]),
            inputs.batches["val"],
            read_settings(first.parent),
            targets=inputs.combinations,
            expected=expected,
            progress="unrolled" if inputs.progress else "",
        )


def check_linear_maps(inputs: Inputs) -> None:
    """Raise ValueError where the adapter trains what EK-FAC has no factors of."""
    check_linear(inputs.model)


def check_checkpoints(inputs: Inputs) -> None:
    """Raise ValueError where the checkpoints that are named can't be read."""
    if inputs.checkpoints_in is not None:
        _ = inputs.checkpoints


def check_moments(inputs: Inputs) -> None:
    """Raise ValueError where the last checkpoint has no second moments."""
    if inputs.checkpoints_in is not None:
        preconditioner(inputs.checkpoints[-1].folder)


def check_memory(inputs: Inputs) -> None:
    """Raise ValueError where the products of all checkpoints' gradients take more than the budget."""
    if inputs.checkpoints_in is None:
        return
    _weights(_trained(inputs))
    rows = len(_trained(inputs)) * len(inputs.tokens["train"])
    if 8 * rows**2 > inputs.budget:
        raise ValueError(
            f"methods: source takes {size(8 * rows**2)} for the products of {rows:,} gradients, of memory_budget "
            f"{size(inputs.budget)}; raise that, or name a folder with fewer checkpoints"
        )


def check_replay(inputs: Inputs) -> None:
    """Raise ValueError for half precision, and for checkpoints of which a replay can't begin."""
    check_precision(inputs.model)
    if inputs.checkpoints_in is not None:
        first = inputs.checkpoints[0]
        read_settings(first.folder.parent)
        if first.spent > 0:
            raise ValueError(f"checkpoints: {first.folder} is after some steps; unrolled begins with that before all")


def _ekfac(
    inputs: Inputs, damping: float, batches: Sequence[Batch], first: Factors, fisher: PerExample | None = None
) -> Tensor:
    """EK-FAC's scores, as many blocks at a time as have factors in a quarter of the budget; the factors are those of
    `batches`, of which the `first` may be there already."""
    totals: list[Tensor] = []
    for group in block_groups(inputs.model, inputs.budget // 4):
        label = inputs.bar("factors")
        factors = first if group[0] in first else gather_factors(inputs.model, batches, label, group)
        train, val = ({block: part[block] for block in group} for part in (inputs.train, inputs.val))
        totals.append(ekfac(train, val, factors, damping, fisher and {block: fisher[block] for block in group}))
        factors.clear()  # as large as the gradients
    return reduce(torch.add, totals)


def _trained(inputs: Inputs) -> list[Checkpoint]:
    """Those after the first step."""
    return [checkpoint for checkpoint in inputs.checkpoints if checkpoint.spent > 0]


def _weights(checkpoints: Sequence[Checkpoint]) -> dict[str, Tensor] | None:
    """Adam's, where the checkpoints have its moments; ValueError where only some have."""
    folders = [checkpoint.folder for checkpoint in checkpoints]
    return preconditioner(*folders) if any((folder / MOMENTS).is_file() for folder in folders) else None
