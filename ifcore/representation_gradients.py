"""RepT: the cosine of hidden states at a layer inside the model, each joined with its loss's gradient there."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ifcore.batches import Batch
from ifcore.gradients import check_loss
from ifcore.hooks import wide
from ifcore.losses import causal_lm, device_of, evaluating, example_losses, hidden_states
from ifcore.representations import repsim


def features(model: nn.Module, batches: Iterable[Batch], layer: int, progress: str = "") -> Tensor:
    """Compute each example's hidden state h at its last prompt token joined with ∂loss/∂h, [h, ∂loss/∂h].

    Neither part is normalised, as in the authors' code; the loss is the example's own, in evaluation mode. One forward
    and one backward pass, down to the layer, serve all examples of a batch, which don't see one another.

    Parameters
    ----------
    model : nn.Module
        A causal language model of transformers, with an adapter or without.
    batches : iterable of Batch
        Together they hold the examples 0 … N−1, each once.
    layer : int
        As transformers counts its `hidden_states`: 1 is the first layer's output, the number of layers the last one's
        after the final norm. Training and validation examples need the same one: `choose_layer` of either.
    progress : str
        The label of a progress bar; none without.

    Returns
    -------
    Tensor
        [N, 2H] on the CPU, in float32 or wider.

    Raises
    ------
    ValueError
        For a layer that the model lacks, a model whose layers are not found, an example without a prompt, and where
        the loss is not what the model's own logits say, as `gradients.check_loss` does.

    References
    ----------
    Li et al. 2025, arXiv 2510.02334; instance_RepT in utils.py of github.com/plumprc/RepT.
    """
    batches = list(batches)
    layers = _layers(model)
    if not 1 <= layer <= len(layers):
        raise ValueError(f"layer: {layer}; choose one of 1 … {len(layers)}")
    module = causal_lm(model).base_model if layer == len(layers) else layers[layer - 1]
    rows = []
    with evaluating(model), torch.enable_grad(), _as_leaf(module) as states:
        for number, batch in enumerate(tqdm(batches, desc=progress, unit="batch", disable=not progress)):
            batch = batch.to(device_of(model))
            losses = example_losses(model, batch)
            state = states[-1]  # an earlier pass finds out about the head, once
            (gradient,) = torch.autograd.grad(losses.sum(), state)
            rows.append(torch.cat([_at_prompt_end(part, batch) for part in (state.detach(), gradient)], 1))
            if number == 0:
                check_loss(model, batch, losses.detach())
            states.clear()
    return torch.cat(rows)[torch.cat([batch.rows for batch in batches]).argsort()]


@torch.no_grad()
def choose_layer(model: nn.Module, batches: Iterable[Batch]) -> int:
    """Find the layer at which adjacent layers' states differ most: where the model turns from words to what to answer.

    Of L layers it is the later one of the pair (l − 1, l), 2 ≤ l < L, whose states at the last prompt token have the
    least cosine, in the mean over the examples; the last layer stays out, as the final norm is in its state. A model of
    two layers or one has nothing to choose between: layer 1.

    Parameters
    ----------
    model : nn.Module
    batches : iterable of Batch
        A small probing set; the responses are not read.

    Returns
    -------
    int
        For `features`.

    Raises
    ------
    ValueError
        For no examples, a model whose layers are not found and an example without a prompt.

    References
    ----------
    Li et al. 2025, arXiv 2510.02334; repdiff.py of github.com/plumprc/RepT, which reads one prompt.
    """
    batches, inner = list(batches), _layers(model)[:-1]
    if not batches:
        raise ValueError("batches: none; give a few examples to choose the layer by")
    if len(inner) < 2:
        return 1
    cosines = []
    with evaluating(model), _recorded(inner) as states:
        for batch in batches:
            batch = batch.until(int(batch.prompt_end.max()) + 1).to(device_of(model))
            hidden_states(model, batch)
            ends = torch.stack([_at_prompt_end(state, batch) for state in states])  # [L - 1, b, H]
            cosines.append(nn.functional.cosine_similarity(ends[:-1].double(), ends[1:].double(), dim=2))
            states.clear()
    return int(torch.cat(cosines, 1).mean(1).argmin()) + 2


def rept(train: Tensor, val: Tensor) -> Tensor:
    """RepT: the cosine of joined states and gradients.

    Parameters
    ----------
    train, val : Tensor
        `features` [N, 2H] and [M, 2H] at the same layer.

    Returns
    -------
    Tensor
        Scores [M, N], float64.

    Raises
    ------
    ValueError
        Where the widths differ, or a row is zero.

    References
    ----------
    Li et al. 2025, arXiv 2510.02334.
    """
    return repsim(train, val)


def _layers(model: nn.Module) -> nn.ModuleList:
    """The decoder's layers: the outermost list of as many modules as the configuration counts."""
    lm = causal_lm(model)
    count = lm.config.get_text_config().num_hidden_layers
    for module in lm.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return module
    raise ValueError(f"model: {type(lm).__name__} has no list of its {count} layers; choose another method than RepT")


@contextmanager
def _as_leaf(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collects the states that a module returns, from which on alone a backward pass goes, whatever is trained."""
    states: list[Tensor] = []

    def hook(_, arguments, output):
        states.append(_state(output).detach().requires_grad_())
        if isinstance(output, Tensor):
            return states[-1]
        if isinstance(output, tuple):
            return states[-1], *output[1:]
        output.last_hidden_state = states[-1]
        return output

    handle = module.register_forward_hook(hook)
    try:
        yield states
    finally:
        handle.remove()


@contextmanager
def _recorded(layers: Iterable[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects the states [b, T, H] of one layer after another."""
    states: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda _, x, output: states.append(_state(output))) for layer in layers]
    try:
        yield states
    finally:
        for handle in handles:
            handle.remove()


def _state(output) -> Tensor:
    """The hidden states [b, T, H] in what a layer or a whole decoder returns."""
    return output if isinstance(output, Tensor) else output[0]


def _at_prompt_end(states: Tensor, batch: Batch) -> Tensor:
    """What stands at each example's last prompt token, [b, H] on the CPU, in float32 or wider."""
    in_prompt = batch.in_prompt
    if not in_prompt.any(1).all():
        row = int(batch.rows[~in_prompt.any(1)][0])
        raise ValueError(f"batch: example {row} has no prompt token; give it a prompt, or choose another method")
    last = in_prompt.long().cumsum(1).argmax(1)
    return wide(states[torch.arange(len(last), device=last.device), last]).cpu()
