"""LoRA fine-tuning: one loop in plain PyTorch, a checkpoint an epoch; a killed run goes on where it stopped."""

import hashlib
import json
import shutil
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from ifcore import adapter_distance
from ifcore.examples import Tokens, batches
from ifcore.lora import causal_lm, device_of, example_losses


@dataclass(frozen=True)
class Settings:
    """How to fine-tune; the defaults are the paper's (appendix B). A batch is worked off `micro_batch` at a time."""

    epochs: int = 25
    batch_size: int = 32
    learning_rate: float = 5e-5
    patience: int = 3
    seed: int = 0
    micro_batch: int | None = None
    activation_checkpointing: bool = False


def finetune(
    model: PeftModel, train: list[Tokens], dev: list[Tokens], folder: Path, settings: Settings, label: str = ""
) -> pd.DataFrame:
    """Fine-tune the adapter on the mean of the training examples' losses: AdamW, linear decay, gradients clipped at 1.

    Leaves `folder`/epoch-NN as `adapters.write` does for each epoch, 00 the untouched adapter; where a call was killed,
    the next goes on from the last one, to the same bits. Stops once the dev loss rose `patience` evaluations running.
    Returns a row an epoch: epoch, step; train_loss and the unclipped grad_norm, means over its steps; dev_loss, or NaN.
    """
    size = settings.batch_size if settings.micro_batch is None else settings.micro_batch
    if min(len(train), settings.epochs, settings.batch_size, settings.patience, size) < 1:
        raise ValueError(f"train: {len(train)} examples, {settings}; examples, epochs, sizes, patience: 1 or more each")
    lora, rest = ([p for name, p in model.named_parameters() if ("lora_" in name) == own] for own in (True, False))
    if not lora or any(parameter.requires_grad for parameter in rest):
        raise ValueError("model: it must train LoRA parameters and no others; freeze it and call models.add_lora")
    if not any(parameter.requires_grad for parameter in lora):
        warnings.warn("model: its adapter is frozen, as after loading for inference; made trainable", stacklevel=2)
        model.set_adapter(model.active_adapter)
    adapter = [parameter for parameter in lora if parameter.requires_grad]
    lm, device = causal_lm(model), device_of(model)  # where the model is; accelerate.Accelerator might move it
    dropout = torch.cuda.default_generators[device.index] if device.type == "cuda" else torch.default_generator
    history, state, identity = _unfinished(folder, model, train, dev, settings)
    theta = torch.nn.utils.parameters_to_vector(adapter).detach()  # [P], of which the parameters become views
    torch.nn.utils.vector_to_parameters(theta, adapter)
    kept, dropout_before = theta.clone(), dropout.get_state()
    optimizer = torch.optim.AdamW([theta], weight_decay=0.0, fused=True)
    each = len(range(0, len(train), settings.batch_size))  # steps an epoch
    total, gone = each * settings.epochs, each * max(len(history) - 1, 0)
    bar = tqdm(total=total, initial=gone, desc=f"fine-tuning {label}".strip(), unit="step")
    try:
        dropout.manual_seed(settings.seed)
        if history:
            theta.copy_(state.pop("theta"))
            dropout.set_state(state.pop("dropout"))
            optimizer.state[theta] = {name: value.to(device) for name, value in state.items()}
        if settings.activation_checkpointing:
            getattr(lm, "activation_checkpointing_enable", lm.gradient_checkpointing_enable)({"use_reentrant": False})
            lm.disable_input_require_grads()  # asked for by the line above, and needed by reentrant ones alone
        for epoch in range(len(history), settings.epochs + 1):
            rises = pd.Series([row["dev_loss"] for row in history], dtype=float).diff() > 0
            if rises.tail(settings.patience).sum() == settings.patience:
                break
            # Epoch 0 takes no step. The order is the Trainer's: accelerate adds the epochs gone by to the seed.
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(settings.seed + epoch - 1))
            of: dict[str, list[float]] = {"train_loss": [], "grad_norm": [], "dev_loss": []}
            model.train()
            for step, rows in enumerate(order.split(settings.batch_size) if epoch else (), each * (epoch - 1)):
                loss, theta.grad = 0.0, torch.zeros_like(theta)
                for batch in batches([train[row] for row in rows], size):
                    share = example_losses(model, batch.to(device)).sum() / len(rows)
                    theta.grad += torch.nn.utils.parameters_to_vector(torch.autograd.grad(share, adapter))
                    loss += share.detach()
                norm = torch.nn.utils.clip_grad_norm_([theta], 1.0)
                if not torch.isfinite(loss + norm):
                    found = f"loss: {loss}, its gradient {norm}, at epoch {epoch}, step {step + 1}"
                    raise FloatingPointError(f"{found}; lower learning_rate or choose precision float32")
                optimizer.param_groups[0]["lr"] = settings.learning_rate * (1 - step / total)
                optimizer.step()
                of["train_loss"].append(float(loss))
                of["grad_norm"].append(float(norm))
                bar.set_postfix(epoch=epoch, loss=float(loss), dev_loss=history[-1]["dev_loss"], refresh=False)
                bar.update()
            model.eval()
            with torch.no_grad():
                of["dev_loss"] = sum((example_losses(model, x.to(device)).tolist() for x in batches(dev, size)), [])
            means = {name: pd.Series(values, dtype=float).mean() for name, values in of.items()}
            history.append({"epoch": epoch, "step": each * epoch, **means})
            state = optimizer.state[theta] | {"theta": theta, "dropout": dropout.get_state()}
            _save(folder, model, state, {"identity": identity, "history": history})
        kept = theta
    finally:  # after an error, the adapter is as it was
        theta.copy_(kept)
        dropout.set_state(dropout_before)
        bar.close()
        model.eval()
        if settings.activation_checkpointing:
            getattr(lm, "activation_checkpointing_disable", lm.gradient_checkpointing_disable)()
    shutil.rmtree(folder / "unfinished")
    return pd.DataFrame(history)


def _save(folder, model, state, record):
    """Publish the epoch's adapter, then the state to go on from: each is there whole or not at all."""
    scratch = folder / "unfinished" / f"epoch-{record['history'][-1]['epoch']:02d}"
    adapter_distance.write(model, scratch / "adapter", state)
    shutil.rmtree(folder / scratch.name, ignore_errors=True)
    (scratch / "adapter").rename(folder / scratch.name)
    save_file(state | {"record": torch.tensor(list(json.dumps(record).encode()), dtype=torch.uint8)}, scratch / "state")
    (scratch / "state").rename(scratch / f"{_digest(folder, scratch / 'state')}.safetensors")


def _unfinished(folder, model, train, dev, settings):
    """History and state of the killed run in `folder`, else no epoch is left; and its identity, weights sampled."""
    adapter = model.active_peft_config.to_dict() | {"base_model_name_or_path": None, "inference_mode": None}
    weights = [weight.detach().flatten()[:: weight.numel() // 256 | 1].tolist() for weight in model.parameters()]
    hashed = {"train": train, "dev": dev, "weights of base and adapter": weights, "device": device_of(model).type}
    hashes = {name: hashlib.sha256(repr(content).encode()).hexdigest()[:12] for name, content in hashed.items()}
    identity = json.loads(json.dumps(asdict(settings) | adapter | hashes, default=sorted))
    for path in sorted(folder.glob("unfinished/epoch-*/*.safetensors"), reverse=True):
        if path.stem == _digest(folder, path):
            state = load_file(path)
            record = json.loads(bytes(state.pop("record").tolist()))
            pairs = [(name, record["identity"].get(name), value) for name, value in identity.items()]
            if other := "; ".join(f"{name} {held}, asked {asked}" for name, held, asked in pairs if held != asked):
                found = f"folder: {folder} holds a fine-tune with other settings ({other})"
                raise ValueError(f"{found}; choose another folder or remove it")
            return record["history"], state, identity
        warnings.warn(f"folder: {path} or an epoch up to it has changed; not gone on from there", stacklevel=3)
    for epoch in folder.glob("epoch-[0-9]*"):
        shutil.rmtree(epoch)
    return [], {}, identity


def _digest(folder, state):
    epochs = sorted(file for file in folder.glob("epoch-*/*") if file.parent.name <= state.parent.name)
    return hashlib.sha256(b"".join(file.read_bytes() for file in [*epochs, state])).hexdigest()
