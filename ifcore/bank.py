"""Adapters fine-tuned again, without some training examples or from another seed: a folder of them that is kept."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from time import sleep
from typing import Any

import torch
from filelock import FileLock, Timeout
from peft import PeftModel
from torch import Tensor
from tqdm import tqdm

from ifcore import io, trainable, training
from ifcore.batches import Batch
from ifcore.checkpoints import MOMENTS, wearing
from ifcore.examples import Tokens
from ifcore.lora import fresh_parameters
from ifcore.losses import evaluate_losses
from ifcore.saved_adapter import read_config
from ifcore.training import Settings

IDENTITY, RECORD, CHECKPOINTS = "bank.json", "retraining.json", "checkpoints"
BETWEEN_SEEDS = 1_000_003  # people's own seeds stay far below


@dataclass(frozen=True)
class Retraining:
    """A fine-tune without the training examples at some places; a `replicate` above 0 is from another seed.

    What is left out weighs nothing: the start, the order and the schedule are those of the fine-tune on all.
    """

    left_out: tuple[int, ...] = ()
    replicate: int = 0

    @property
    def name(self) -> str:
        """Of its folder."""
        digest = hashlib.sha256(repr(self.left_out).encode()).hexdigest()[:10]
        places = {0: "all", 1: f"without-{self.left_out[0] if self.left_out else ''}"}
        name = places.get(len(self.left_out), f"without-{len(self.left_out)}-{digest}")
        return f"{name}-seed-{self.replicate}" if self.replicate else name


class Bank:
    """A folder of retrained adapters, each in PEFT's own format: made once, by any number of processes, and resumed.

    Beside each lies `retraining.json` with what was left out. The fine-tune on all examples keeps its checkpoints.

    Parameters
    ----------
    folder : Path
    model : PeftModel
        With a LoRA adapter, of whose configuration a fresh one is drawn to start from.
    train : sequence of Tokens
        The N training examples.
    settings : Settings
    start : Path, optional
        The adapter to start from; by default one is drawn, from the seed of the settings or of a replicate.
    dev : sequence of Tokens
        What decided when the fine-tune stopped; a retraining then stops by itself.
    about : mapping, optional
        Settings by which the tokens were made, to name what differs from another bank.

    Raises
    ------
    ValueError
        In a line, for a folder that holds the bank of another model, other data or other settings, and for an adapter
        whose start can't be drawn, without one.
    """

    def __init__(
        self,
        folder: Path,
        model: PeftModel,
        train: Sequence[Tokens],
        settings: Settings,
        start: Path | None = None,
        dev: Sequence[Tokens] = (),
        about: Mapping[str, Any] | None = None,
    ):
        self.folder, self.model, self.train, self.settings = folder, model, list(train), settings
        self._start, self._dev = start, list(dev)
        if others := [name for name in trainable.trainable_parameters(model) if "lora_" not in name]:
            raise ValueError(f"adapter: it trains {others[0]}, and retraining is of LoRA parameters alone")
        if start is not None:
            read_config(start)
        identity = _identity(model, self.train, settings, start, self._dev) | dict(about or {})
        with FileLock(_folder(folder) / ".lock"):
            if before := io.read_json(folder / IDENTITY):
                if other := [name for name in identity if before.get(name) != identity[name]]:
                    pairs = (f"{name} {str(before.get(name))[:40]}, now {str(identity[name])[:40]}" for name in other)
                    raise ValueError(f"bank: {folder} is of another fine-tune ({'; '.join(pairs)}); name another")
            elif any(folder.glob("*/adapter_config.json")):
                raise ValueError(f"bank: {folder} holds adapters and no {IDENTITY}; name another folder")
            else:
                io.write_json(folder / IDENTITY, identity)

    @property
    def checkpoints(self) -> Path:
        """Those of the fine-tune on all examples, which `make` leaves."""
        return self.folder / CHECKPOINTS

    def make(self, retrainings: Sequence[Retraining], label: str = "") -> None:
        """Fine-tune what isn't there yet; what another process is at, is waited for."""
        distinct = {retraining.name: retraining for retraining in retrainings}
        missing = {name: retraining for name, retraining in distinct.items() if not self.is_made(retraining)}
        total = sum(map(self.cost, missing.values()))
        bar = tqdm(total=total, desc=label, unit="token", unit_scale=True, disable=not (label and missing))
        with bar:
            while missing:
                for name, retraining in list(missing.items()):
                    with self._locked(name) as is_ours:
                        if not is_ours:
                            continue
                        if not self.is_made(retraining):
                            bar.set_postfix_str(f"fine-tunes left: {len(missing)}")
                            self._fine_tune(retraining)
                    bar.update(self.cost(retraining))
                    del missing[name]
                if missing:
                    sleep(1)  # others' last ones

    def losses(self, retraining: Retraining, val: Sequence[Batch]) -> Tensor:
        """The losses of validation examples after a retraining that was made, [M]; evaluated once."""
        folder, key = self.folder / retraining.name, _digest(val)
        file = folder / f"losses-{key}.json"
        adapter = io.sha256(folder / "adapter_model.safetensors")
        if (record := io.read_sealed(file)).get("of") != adapter:
            with self.wearing(retraining):
                values = evaluate_losses(self.model, val).double()
            record = {"of": adapter, "losses": values.tolist()}
            io.write_sealed(file, record)
        return torch.tensor(record["losses"], dtype=torch.float64)

    @contextmanager
    def wearing(self, retraining: Retraining) -> Iterator[None]:
        """`with bank.wearing(retraining)`: the model has that adapter; afterwards its own."""
        with wearing(self.model, self.folder / retraining.name):
            yield

    def cost(self, retraining: Retraining) -> int:
        """How many tokens it trains on, over all epochs."""
        left_out = () if self._computes_all(retraining) else set(retraining.left_out)
        lengths = (len(tokens) for place, tokens in enumerate(self.train) if place not in left_out)
        return self.settings.epochs * sum(lengths)

    def _computes_all(self, retraining: Retraining) -> bool:
        """Whether what is left out is computed all the same, for the same dropout: where it is less than half."""
        return 0 < len(retraining.left_out) < len(self.train) / 2

    def is_made(self, retraining: Retraining) -> bool:
        """Whether it is there, unaltered."""
        folder = self.folder / retraining.name
        record = io.read_sealed(folder / RECORD)
        return bool(record) and record.get("sha256") == io.sha256(folder / "adapter_model.safetensors")

    def _fine_tune(self, retraining: Retraining) -> None:
        target, scratch = self.folder / retraining.name, self.folder / ".unfinished" / retraining.name
        seed = self.settings.seed + BETWEEN_SEEDS * retraining.replicate
        settings = Settings(**asdict(self.settings) | {"seed": seed})
        weights = [0.0 if place in set(retraining.left_out) else 1.0 for place in range(len(self.train))]
        dev = self._dev if settings.patience < settings.epochs else []  # where it can stop a fine-tune
        parameters = trainable.trainable_parameters(self.model)
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        try:
            with trainable.requiring_grad(parameters):
                if self._start is None:
                    _set(parameters, fresh_parameters(self.model, seed))
                with nullcontext() if self._start is None else wearing(self.model, self._start):
                    training.finetune(
                        self.model,
                        self.train,
                        dev,
                        scratch,
                        settings,
                        None,
                        weights if retraining.left_out else None,
                        self._computes_all(retraining),
                    )
        finally:
            _set(parameters, before)
        last = max(scratch.glob("epoch-*"))
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(last, target, ignore=shutil.ignore_patterns(MOMENTS))
        if retraining == Retraining():
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            scratch.rename(self.checkpoints)
        shutil.rmtree(scratch, ignore_errors=True)
        sha256 = io.sha256(target / "adapter_model.safetensors")
        io.write_sealed(target / RECORD, {**asdict(retraining), "sha256": sha256})

    @contextmanager
    def _locked(self, name: str) -> Iterator[bool]:
        """Whether this process has it; a killed one's is free again."""
        lock = FileLock(_folder(self.folder / ".locks") / f"{name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()


def _identity(
    model: PeftModel, train: Sequence[Tokens], settings: Settings, start: Path | None, dev: Sequence[Tokens]
) -> dict[str, Any]:
    """What determines the adapters of a bank, in words of the settings where it can."""
    config: dict[str, Any] = model.active_peft_config.to_dict()
    named = ("r", "lora_alpha", "lora_dropout", "target_modules", "use_rslora", "use_dora", "layers_to_transform")
    adapter = {name: config.get(name) for name in named} | {"settings of the adapter": _sha(config, IGNORED)}
    base = [
        (name, str(weight.dtype), weight.detach().flatten()[:: weight.numel() // 256 | 1].tolist())
        for name, weight in model.named_parameters()
        if "lora_" not in name
    ]
    with nullcontext() if start is None else wearing(model, start):
        begun = fresh_parameters(model, settings.seed) if start is None else trainable.trainable_parameters(model)
        begin = [(name, value.detach().flatten().tolist()) for name, value in sorted(begun.items())]
    identity = {
        **asdict(settings),
        **adapter,
        "model": _sha(base),
        "training examples": _sha(train),
        "start": _sha(begin),
    }
    identity |= {"dev examples": _sha(dev)} if dev else {}
    return json.loads(json.dumps(identity, default=_plain))


IGNORED = ("base_model_name_or_path", "inference_mode", "peft_version", "revision")  # of where it lies and who wrote it


def _sha(value: Any, without: Sequence[str] = ()) -> str:
    if isinstance(value, dict):
        value = {name: value[name] for name in sorted(value) if name not in without}
        value = json.dumps(value, default=_plain)
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, set | frozenset) else str(value)


def _digest(val: Sequence[Batch]) -> str:
    digest = hashlib.sha256()
    for batch in val:
        for tensor in batch.tensors().values():
            digest.update(str(tuple(tensor.shape)).encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _set(parameters: dict[str, Any], values: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(values[name])


def _folder(folder: Path) -> Path:
    """It, made."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder
