"""LoRA adapters on a causal language model: added, loaded, worn for a while, merged for a while."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import PreTrainedModel

from ifcore.sanitize import reason
from ifcore.saved_adapter import check_loaded, check_shapes, read_config


def add_lora(
    model: PreTrainedModel,
    rank: int = 4,
    alpha: int = 32,
    dropout: float = 0.1,
    layers: list[int] | None = None,
    seed: int = 0,
    modules: Sequence[str] | str = ("q_proj", "v_proj"),
) -> PeftModel:
    """Put a fresh LoRA adapter on a model. It starts as the identity: A is drawn, B is zero.

    Parameters
    ----------
    model : PreTrainedModel
    rank, alpha, dropout
        As PEFT's LoraConfig has them.
    layers : list of int, optional
        Those that get LoRA; by default all.
    seed : int
        Of A.
    modules : sequence of str or str
        PEFT's `target_modules`; "all-linear" is every linear map but the head.

    Returns
    -------
    PeftModel
        The adapter is float32 or wider, whatever the precision of the model.
    """
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        layers_to_transform=layers,
        task_type="CAUSAL_LM",
    )
    with _quiet(), torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)  # A is drawn on the CPU wherever the model is
        return get_peft_model(model, config)


def fresh_parameters(model: PeftModel, seed: int) -> dict[str, Tensor]:
    """Parameters to begin another fine-tune with, as drawn from the active adapter's configuration: block -> values.

    Of a LoRA that `add_lora` made from the same seed they are its own. Raises ValueError for one that was begun in
    another way, which may have changed the base.
    """
    name: str = model.active_adapter
    config = copy.deepcopy(model.active_peft_config)
    start = getattr(config, "init_lora_weights", None)
    if not isinstance(config, LoraConfig) or start not in (True, "gaussian"):
        raise ValueError(
            f"adapter: it was begun with init_lora_weights {start!r}; give the one it started from as start"
        )
    config.inference_mode, scratch = False, "fresh"
    with _quiet(), torch.random.fork_rng([]):
        torch.default_generator.manual_seed(seed)
        model.add_adapter(scratch, config)
    try:
        named = dict(model.named_parameters())
        fresh = {key: value for key, value in named.items() if f".{scratch}." in f"{key}."}
        return {
            key.replace(f".{scratch}.", f".{name}.").removesuffix(".weight"): value.detach().clone()
            for key, value in fresh.items()
        }
    finally:
        model.delete_adapter(scratch)
        model.set_adapter(name)


def with_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """The model with the adapter that PEFT's save_pretrained left in `folder`, which has its values to the bit.

    Raises ValueError, in one line, where it hasn't: see `saved_adapter`.
    """
    config = read_config(folder)
    check_shapes(folder)
    try:
        with _quiet():
            peft = PeftModel.from_pretrained(model, folder)
    except Exception as error:  # PEFT's are of many kinds
        remedy = "give the base it was trained on" if "size mismatch" in str(error) else "save it again"
        raise ValueError(f"it can't be put on the model ({reason(error)}); {remedy}") from error
    if not config.is_prompt_learning:  # which is refused where it is used
        check_loaded(peft, folder)
    return peft


@contextmanager
def adapted(model: PreTrainedModel, folder: Path) -> Iterator[PeftModel]:
    """`with adapted(…) as peft`: the model wearing the adapter in `folder`; as it was before, afterwards."""
    peft = with_adapter(model, folder)
    try:
        yield peft
    finally:
        peft.unload()


@contextmanager
def merged(model: PeftModel) -> Iterator[None]:
    """`with merged(model)`: its adapter is in the weights, which spares its products; afterwards all is as it was.

    For decoding, where a token costs as many calls as a batch of sequences does.
    """
    bases: list[Any] = [module.get_base_layer() for module in model.modules() if isinstance(module, LoraLayer)]
    weights = [base.weight.detach().clone() for base in bases]
    model.merge_adapter()
    try:
        yield
    finally:
        model.unmerge_adapter()
        for base, weight in zip(bases, weights, strict=True):
            base.weight.data.copy_(weight)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that peft sets off by reading a property that transformers renamed."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield
