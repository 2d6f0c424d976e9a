"""What an adapter trains: every parameter of it by name, or a refusal where its gradients can't be had."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft import get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import nn

from ifcore.losses import causal_lm, uncompiled


def trainable_parameters(model: Any) -> dict[str, nn.Parameter]:
    """Name -> every parameter that the active adapter trains, of whatever kind PEFT has.

    A name is that of `named_parameters` without `.weight`. Raises ValueError, in one line, where the model has no
    adapter or several active ones, where the adapter is merged, disabled, or a prompt in place of parameters, and where
    a parameter that isn't the adapter's requires a gradient.
    """
    model = uncompiled(model)
    name, config = _active(model)
    if config.is_prompt_learning:
        raise ValueError(
            f"model: adapter {name!r} ({config.peft_type.value}) is a prompt; choose one that changes weights, as LoRA"
        )
    for module in model.modules():
        if isinstance(module, BaseTunerLayer) and module.merged:
            raise ValueError(f"model: adapter {name!r} is merged into the weights; call model.unmerge_adapter() first")
        if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper) and module.disable_adapters:
            raise ValueError(f"model: adapter {name!r} is disabled; call model.enable_adapter_layers() first")
    named = dict(model.named_parameters())
    trained = {key: named[key] for key in _saved(model, name) if key in named}
    others = {key for other in model.peft_config if other != name for key in _saved(model, other)}
    if strangers := [key for key in named if named[key].requires_grad and key not in trained and key not in others]:
        raise ValueError(
            f"model: {strangers[0]} requires a gradient and is not of adapter {name!r}, nor are {len(strangers) - 1} "
            "more; freeze what the adapter doesn't train"
        )
    places = {id(parameter) for parameter in trained.values()}
    if unsaved := [parameter for parameter in _held(model, name) if id(parameter) not in places]:
        shape = tuple(unsaved[0].shape)
        raise ValueError(f"model: adapter {name!r} trains a parameter of shape {shape} that PEFT doesn't save as it is")
    if not trained:
        raise ValueError(f"model: adapter {name!r} trains no parameters; load one that does")
    return {key.removesuffix(".weight"): parameter for key, parameter in trained.items()}


def adapted_linears(model: nn.Module) -> dict[str, nn.Linear]:
    """Block -> each `lora_A` and `lora_B` of the active adapter whose gradients the hooks of `gradients` may read.

    Not those of variants such as DoRA, whose weights take part in more than their own product; not those of a head,
    which sees the response alone, nor those of experts, which see tokens in an order of their own.
    """
    model = uncompiled(model)
    adapter, head = _active(model)[0], causal_lm(model).get_output_embeddings()
    linears: dict[str, nn.Linear] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, LoraLayer) or layer is head or ".experts." in f"{name}.":
            continue
        if adapter in layer.lora_A and adapter not in layer.lora_variant:
            pair = {
                f"{name}.lora_A.{adapter}": layer.lora_A[adapter],
                f"{name}.lora_B.{adapter}": layer.lora_B[adapter],
            }
            linears |= {block: module for block, module in pair.items() if isinstance(module, nn.Linear)}
    return linears


@contextmanager
def requiring_grad(parameters: dict[str, nn.Parameter]) -> Iterator[None]:
    """Adapters loaded for inference are frozen: these require a gradient, until afterwards."""
    before = {name: parameter.requires_grad for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(before[name])


def _active(model: Any) -> tuple[str, Any]:
    """Name and configuration of the one active adapter."""
    if not getattr(model, "peft_config", None):
        raise ValueError("model: it has no adapter; wrap it with peft or load an adapter first")
    active = model.active_adapters
    active = active() if callable(active) else active  # transformers' own has a method there
    if len(active) != 1:
        raise ValueError(f"model: adapters {', '.join(active) or 'none'} are active; choose one by model.set_adapter")
    return active[0], model.peft_config[active[0]]


def _held(model: nn.Module, adapter: str) -> Iterator[nn.Parameter]:
    """The adapter's parameters as its layers list them."""
    for module in model.modules():
        for attribute in module.adapter_layer_names if isinstance(module, BaseTunerLayer) else ():
            held = getattr(module, attribute, {})
            part = held[adapter] if adapter in held else None
            if isinstance(part, nn.Parameter):
                yield part
            elif isinstance(part, nn.Module):
                yield from part.parameters()


def _saved(model: Any, adapter: str) -> list[str]:
    """The names, among all parameters, of what PEFT would save of an adapter: its definition of what is trained."""
    if model.peft_config[adapter].is_prompt_learning:
        return []
    saved = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
    places = {tensor.data_ptr() for tensor in saved.values()}
    return [name for name, parameter in model.named_parameters() if parameter.data_ptr() in places]
