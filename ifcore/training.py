"""LoRA fine-tuning: one loop in plain PyTorch, a checkpoint an epoch; a killed run goes on where it stopped."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from tqdm import tqdm

from ifcore import io
from ifcore.batches import batches
from ifcore.checkpoints import save_checkpoint
from ifcore.examples import Tokens
from ifcore.losses import causal_lm, device_of, example_losses

SETTINGS = "settings.json"
MAX_NORM = 1.0  # at which gradients are clipped

Weighting = tuple[tuple[float, ...], bool]  # the weights, and whether what weighs 0 is computed all the same


@dataclass(frozen=True)
class Settings:
    """How to fine-tune; a batch is worked off `micro_batch` at a time, `patience` counts dev evaluations."""

    epochs: int = 25
    batch_size: int = 32
    learning_rate: float = 5e-5
    patience: int = 3
    seed: int = 0
    micro_batch: int | None = None
    activation_checkpointing: bool = False


@dataclass(frozen=True)
class Step:
    """A step of a fine-tune, counted from 0 over all epochs: the `rows` of its batch, and its learning rate."""

    number: int
    epoch: int
    rows: tuple[int, ...]
    learning_rate: float


def finetune(
    model: PeftModel,
    train: list[Tokens],
    dev: list[Tokens],
    folder: Path,
    settings: Settings,
    label: str | None = "",
    weights: Sequence[float] | None = None,
    same_dropout: bool = False,
) -> pd.DataFrame:
    """Fine-tune the adapter on the mean of the training examples' losses.

    AdamW without weight decay, linear decay of the learning rate, gradients clipped at 1. Where a call was killed, the
    next one goes on from the last epoch, to the same bits; where it ended, the next one finds it made.

    Parameters
    ----------
    model : PeftModel
        With a LoRA adapter and nothing else that is trained.
    train, dev : list of Tokens
        What to train on, and what decides when to stop; `dev` may be empty.
    folder : Path
        Gets epoch-NN as `save_checkpoint` leaves it for each epoch, 00 the untouched adapter; and `finished`, by which
        a later call knows that it is made; and settings.json.
    settings : Settings
    label : str or None
        Of the progress bar; None for no bar.
    weights : sequence of float, optional
        Of the training examples, [N], by default 1 each: the loss of a step is Σ w_i loss_i over the size of its whole
        batch. What weighs 0 changes neither order nor schedule.
    same_dropout : bool
        Whether what weighs 0 is computed all the same, so that the others get the dropout masks that they had with it.

    Returns
    -------
    DataFrame
        A row an epoch: epoch, step; train_loss and the unclipped grad_norm, means over its steps; dev_loss, or NaN.

    Raises
    ------
    ValueError
        For no examples, sizes below 1, a model that trains something else, and a folder with another, unfinished one.
    FloatingPointError
        Where the loss or its gradient is not finite.
    """
    size = settings.batch_size if settings.micro_batch is None else settings.micro_batch
    if min(len(train), settings.epochs, settings.batch_size, settings.patience, size) < 1:
        raise ValueError(f"train: {len(train)} examples, {settings}; examples, epochs, sizes, patience: 1 or more each")
    if weights is not None and len(weights) != len(train):
        raise ValueError(f"weights: {len(weights)} for {len(train)} examples; give one for each")
    adapter, device = adapter_parameters(model), device_of(model)
    weighting = None if weights is None else (tuple(map(float, weights)), same_dropout)
    history, state, identity = _unfinished(folder, model, train, dev, settings, weighting)
    io.write_json(folder / SETTINGS, asdict(settings))
    theta = parameters_to_vector(adapter).detach()  # [P], of which the parameters become views
    vector_to_parameters(theta, adapter)
    final = theta.clone()  # after an error, the adapter is as it was
    optimizer = torch.optim.AdamW([theta], weight_decay=0.0, fused=True)
    steps = schedule(settings, len(train))
    per_epoch = len(steps) // settings.epochs
    completed = per_epoch * max(len(history) - 1, 0)
    title = f"fine-tuning {label}".strip()
    bar = tqdm(total=len(steps), initial=completed, desc=title, unit="step", disable=label is None)
    try:
        with seeded_dropout(device, settings.seed) as dropout, _activation_checkpointing(model, settings):
            if history:
                theta.copy_(state.pop("theta"))
                dropout.set_state(state.pop("dropout"))
                optimizer.state[theta] = {name: value.to(device) for name, value in state.items()}
            for epoch in range(len(history), settings.epochs + 1):
                if _is_over(history, settings.patience):
                    break
                ahead = [step for step in steps if step.epoch == epoch]
                metrics = _train_epoch(model, adapter, optimizer, train, ahead, size, weighting, bar, history)
                with torch.no_grad():
                    losses = [example_losses(model, batch.to(device)).tolist() for batch in batches(dev, size)]
                metrics["dev_loss"] = sum(losses, [])
                means = {name: pd.Series(values, dtype=float).mean() for name, values in metrics.items()}
                history.append({"epoch": epoch, "step": per_epoch * epoch, **means})
                state = optimizer.state[theta] | {"theta": theta, "dropout": dropout.get_state()}
                spent = sum(step.learning_rate for step in steps if step.epoch <= epoch)
                _save(folder, model, state, {"identity": identity, "history": history}, spent)
        _finish(folder)
        final = theta
    finally:
        theta.copy_(final)
        bar.close()
        model.eval()
    return pd.DataFrame(history)


def read_settings(folder: Path) -> Settings:
    """Those with which `finetune` left its checkpoints in a folder; ValueError where it did not."""
    if not (fields := io.read_json(folder / SETTINGS)):
        raise ValueError(f"checkpoints: {folder} has no {SETTINGS}; give a folder of ifcore.finetune's")
    return Settings(**fields)


def schedule(settings: Settings, count: int) -> list[Step]:
    """The steps of a fine-tune on so many examples, in their order."""
    per_epoch = len(range(0, count, settings.batch_size))
    steps = []
    for epoch in range(1, settings.epochs + 1):
        # The order is the Trainer's: accelerate adds the epochs gone by to the seed.
        order = torch.randperm(count, generator=torch.Generator().manual_seed(settings.seed + epoch - 1))
        for number, rows in enumerate(order.split(settings.batch_size), per_epoch * (epoch - 1)):
            rate = settings.learning_rate * (1 - number / (per_epoch * settings.epochs))
            steps.append(Step(number, epoch, tuple(rows.tolist()), rate))
    return steps


def shares(
    model: PeftModel, train: Sequence[Tokens], rows: Sequence[int], size: int, weighting: Weighting | None = None
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """The rows of one micro-batch of a step after another, and their losses, not yet weighted, [b]."""
    weights, same_dropout = weighting or ((1.0,) * len(train), True)
    rows = [row for row in rows if same_dropout or weights[row]]
    for batch in batches([train[row] for row in rows], size):
        yield tuple(rows[place] for place in batch.rows), example_losses(model, batch.to(device_of(model)))


def adapter_parameters(model: PeftModel) -> list[nn.Parameter]:
    """The LoRA parameters to train; ValueError where the model would train anything else."""
    lora = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
    rest = [parameter for name, parameter in model.named_parameters() if "lora_" not in name]
    if not lora or any(parameter.requires_grad for parameter in rest):
        raise ValueError("model: it must train LoRA parameters and no others; freeze it and call lora.add_lora")
    if not any(parameter.requires_grad for parameter in lora):
        warnings.warn("model: its adapter is frozen, as after loading for inference; made trainable", stacklevel=3)
        model.set_adapter(model.active_adapter)
    return [parameter for parameter in lora if parameter.requires_grad]


def _is_over(history: list[dict[str, Any]], patience: int) -> bool:
    """Whether the dev loss rose at each of the last `patience` evaluations."""
    rises = pd.Series([row["dev_loss"] for row in history], dtype=float).diff() > 0
    return bool(rises.tail(patience).sum() == patience)


def _train_epoch(model, adapter, optimizer, train, steps, size, weighting, bar, history) -> dict[str, list[float]]:
    """One epoch's steps, none for epoch 0: the loss and the unclipped gradient norm of each."""
    metrics: dict[str, list[float]] = {"train_loss": [], "grad_norm": []}
    (theta,) = optimizer.param_groups[0]["params"]
    model.train()
    for step in steps:
        loss, theta.grad = torch.zeros((), device=theta.device), torch.zeros_like(theta)
        for rows, losses in shares(model, train, step.rows, size, weighting):
            weighted = losses if weighting is None else losses * losses.new_tensor([weighting[0][row] for row in rows])
            share = weighted.sum() / len(step.rows)
            theta.grad += parameters_to_vector(torch.autograd.grad(share, adapter))
            loss = loss + share.detach()
        norm = torch.nn.utils.clip_grad_norm_([theta], MAX_NORM)
        if not torch.isfinite(loss + norm):
            problem = f"loss: {loss}, its gradient {norm}, at epoch {step.epoch}, step {step.number + 1}"
            raise FloatingPointError(f"{problem}; lower learning_rate or choose precision float32")
        optimizer.param_groups[0]["lr"] = step.learning_rate
        optimizer.step()
        metrics["train_loss"].append(float(loss))
        metrics["grad_norm"].append(float(norm))
        bar.set_postfix(epoch=step.epoch, loss=float(loss), dev_loss=history[-1]["dev_loss"], refresh=False)
        bar.update()
    model.eval()
    return metrics


@contextmanager
def seeded_dropout(device: torch.device, seed: int) -> Iterator[torch.Generator]:
    """The generator that dropout draws from, seeded; as it was afterwards."""
    generator = torch.cuda.default_generators[device.index] if device.type == "cuda" else torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield generator
    finally:
        generator.set_state(before)


@contextmanager
def _activation_checkpointing(model: PeftModel, settings: Settings) -> Iterator[None]:
    lm = causal_lm(model)
    if not settings.activation_checkpointing:
        yield
        return
    getattr(lm, "activation_checkpointing_enable", lm.gradient_checkpointing_enable)({"use_reentrant": False})
    lm.disable_input_require_grads()  # asked for by the line above, and needed by reentrant ones alone
    try:
        yield
    finally:
        getattr(lm, "activation_checkpointing_disable", lm.gradient_checkpointing_disable)()


def _save(folder, model, state, record, spent):
    """Publish the epoch's adapter, then the state to go on from: each is there whole or not at all."""
    scratch = folder / "unfinished" / f"epoch-{record['history'][-1]['epoch']:02d}"
    save_checkpoint(model, scratch / "adapter", state, spent)
    shutil.rmtree(folder / scratch.name, ignore_errors=True)
    (scratch / "adapter").rename(folder / scratch.name)
    save_file(state | {"record": torch.tensor(list(json.dumps(record).encode()), dtype=torch.uint8)}, scratch / "state")
    (scratch / "state").rename(scratch / f"{_digest(folder, scratch / 'state')}.safetensors")


def _finish(folder):
    """Keep the last state alone: killed before its caller has noted the end, a fine-tune is not made again."""
    if states := sorted(folder.glob("unfinished/epoch-*")):
        states[-1].rename(folder / "finished")
        shutil.rmtree(folder / "unfinished")


def _unfinished(folder, model, train, dev, settings, weighting):
    """History and state of the run in `folder`, killed or at its end, else no epoch is left; and its identity, weights
    sampled."""
    adapter = model.active_peft_config.to_dict() | {"base_model_name_or_path": None, "inference_mode": None}
    weights = [
        (str(weight.dtype), weight.detach().flatten()[:: weight.numel() // 256 | 1].tolist())
        for weight in model.parameters()
    ]
    hashed = {"train": train, "dev": dev, "weights of base and adapter": weights, "device": device_of(model).type}
    hashed |= {} if weighting is None else {"weights of the examples": weighting}
    hashes = {name: hashlib.sha256(repr(content).encode()).hexdigest()[:12] for name, content in hashed.items()}
    identity = json.loads(json.dumps(asdict(settings) | adapter | hashes, default=sorted))
    finished = list(folder.glob("finished/*.safetensors"))
    for path in finished + sorted(folder.glob("unfinished/epoch-*/*.safetensors"), reverse=True):
        if path.stem == _digest(folder, path):
            state = load_file(path)
            record = json.loads(bytes(state.pop("record").tolist()))
            pairs = [(name, record["identity"].get(name), value) for name, value in identity.items()]
            other = "; ".join(f"{name} {held}, asked {asked}" for name, held, asked in pairs if held != asked)
            if other and path in finished:
                break  # another one, and nothing is lost: it takes this one's place
            if other:
                problem = f"folder: {folder} holds a fine-tune with other settings ({other})"
                raise ValueError(f"{problem}; choose another folder or remove it")
            return record["history"], state, identity
        warnings.warn(f"folder: {path} or an epoch up to it has changed; not gone on from there", stacklevel=3)
    for stale in (*folder.glob("epoch-[0-9]*"), folder / "finished", folder / "unfinished"):
        shutil.rmtree(stale, ignore_errors=True)
    return [], {}, identity


def _digest(folder, state):
    epochs = sorted(file for file in folder.glob("epoch-*/*") if file.parent.name <= state.parent.name)
    return hashlib.sha256(b"".join(file.read_bytes() for file in [*epochs, state])).hexdigest()
