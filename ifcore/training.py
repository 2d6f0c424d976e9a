"""LoRA fine-tuning with transformers.Trainer: a checkpoint an epoch, early stopping, resumption without pickles."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm
from transformers import Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from ifcore.examples import Batch, Tokens, collate
from ifcore.models import device_of, example_losses


@dataclass(frozen=True)
class Settings:
    """How to fine-tune. The defaults are the paper's (appendix B) and the Trainer's own."""

    epochs: int = 25
    batch_size: int = 32
    learning_rate: float = 5e-5
    patience: int = 3
    seed: int = 0


def finetune(
    model: PeftModel, train: list[Tokens], val: list[Tokens], folder: Path, settings: Settings, label: str = ""
) -> pd.DataFrame:
    """Fine-tune the adapter of `model` on the mean of the training examples' losses.

    Leaves `folder`/epoch-NN in PEFT's own format for every epoch, epoch-00 being the untouched adapter; a call that
    finds the remains of a killed one in `folder` goes on from its last whole epoch, to the same numbers. Stops early
    after the validation loss rose `patience` evaluations running. Returns the history, a row an epoch from epoch 0, the
    untouched adapter: epoch, step, train_loss (the mean over the epoch's steps, dropout on; empty for epoch 0),
    val_loss. The progress bar reads `label`.
    """
    scratch = folder / "unfinished"
    arguments = TrainingArguments(
        output_dir=str(scratch),
        num_train_epochs=settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        eval_strategy="epoch",
        eval_on_start=True,
        save_strategy="epoch",
        logging_strategy="epoch",
        save_total_limit=2,
        prediction_loss_only=True,
        remove_unused_columns=False,
        label_names=["labels"],
        use_cpu=device_of(model).type == "cpu",
        disable_tqdm=True,
        report_to="none",
    )
    trainer = _Trainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=val,
        data_collator=_Collator(pad_id=model.config.pad_token_id or 0),
        callbacks=[_Publish(folder), _StopOnRise(settings.patience), _Progress(label)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=_last_whole(scratch))
    shutil.rmtree(scratch)
    model.eval()
    return _history(trainer.state.log_history)


class _Trainer(Trainer):
    """The Trainer with the loss of `ifcore.models`, and its resumption state in safetensors and JSON."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss = example_losses(model, Batch(**inputs)).mean()
        return (loss, {}) if return_outputs else loss

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        states = self.optimizer.state_dict()["state"]
        flat = {f"{index}.{name}": value for index, state in states.items() for name, value in state.items()}
        save_file(flat, Path(output_dir) / "optimizer.safetensors")
        rates = {"last_epoch": self.lr_scheduler.last_epoch, "last_lr": self.lr_scheduler.get_last_lr()}
        (Path(output_dir) / "schedule.json").write_text(json.dumps(rates))

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in load_file(Path(checkpoint) / "optimizer.safetensors").items():
            index, key = name.split(".", 1)
            states.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": states})
        rates = json.loads((Path(checkpoint) / "schedule.json").read_text())
        self.lr_scheduler.last_epoch = rates["last_epoch"]
        self.lr_scheduler._last_lr = rates["last_lr"]
        for group, rate in zip(self.optimizer.param_groups, rates["last_lr"], strict=True):
            group["lr"] = rate

    def _save_rng_state(self, output_dir: str) -> None:
        states = {"cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            states["cuda"] = torch.cuda.get_rng_state()
        save_file(states, Path(output_dir) / "rng.safetensors")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is None:
            return
        states = load_file(Path(checkpoint) / "rng.safetensors")
        torch.set_rng_state(states["cpu"])
        if torch.cuda.is_available() and "cuda" in states:
            torch.cuda.set_rng_state(states["cuda"])


@dataclass(frozen=True)
class _Collator:
    pad_id: int

    def __call__(self, tokens: list[Tokens]) -> dict[str, Tensor]:
        return vars(collate(tokens, range(len(tokens)), self.pad_id))


@dataclass
class _Publish(TrainerCallback):
    """Copies each epoch's adapter out of the Trainer's scratch folder, whole or not at all, and marks the scratch
    checkpoint as whole: the Trainer writes in place, so a kill can leave half of one."""

    folder: Path

    def on_train_begin(self, args, state, control, model=None, **_):
        if state.global_step == 0:
            self._publish(0, lambda target: model.save_pretrained(target))

    def on_save(self, args, state, control, **_):
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        names = ["adapter_model.safetensors", "adapter_config.json"]
        self._publish(round(state.epoch), lambda target: [shutil.copy(checkpoint / name, target) for name in names])
        sums = {path.name: _sha256(path) for path in sorted(checkpoint.iterdir())}
        (checkpoint / "whole.json").write_text(json.dumps(sums))

    def _publish(self, epoch: int, write) -> None:
        target, scratch = self.folder / f"epoch-{epoch:02d}", self.folder / "unfinished" / "adapter"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        write(scratch)
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)


@dataclass
class _StopOnRise(TrainerCallback):
    """Stops once the validation loss rose `patience` evaluations running.

    It reads them off the log, which a checkpoint keeps, so that a resumed run stops where the other would have.
    """

    patience: int

    def on_evaluate(self, args, state, control, **_):
        losses = _evaluations(state.log_history).val_loss.tolist()
        last = losses[-1 - self.patience :]
        if len(last) > self.patience and all(a < b for a, b in zip(last, last[1:], strict=False)):
            control.should_training_stop = True


@dataclass
class _Progress(TrainerCallback):
    label: str

    def on_train_begin(self, args, state, control, **_):
        self.bar = tqdm(
            total=state.max_steps, initial=state.global_step, desc=f"fine-tuning {self.label}".strip(), unit="step"
        )

    def on_step_end(self, args, state, control, **_):
        self.bar.update(state.global_step - self.bar.n)

    def on_evaluate(self, args, state, control, metrics=None, **_):
        self.bar.set_postfix(epoch=round(state.epoch), val_loss=f"{metrics['eval_loss']:.3f}")

    def on_train_end(self, args, state, control, **_):
        self.bar.close()


def _last_whole(scratch: Path) -> str | None:
    """The last checkpoint whose files are all there and as they were written."""
    marks = sorted(scratch.glob("checkpoint-*/whole.json"), key=lambda mark: int(mark.parent.name.split("-")[1]))
    for mark in reversed(marks):
        sums = json.loads(mark.read_text() or "{}")
        files = {name: mark.parent / name for name in sums}
        if sums and all(path.is_file() and _sha256(path) == sums[name] for name, path in files.items()):
            return str(mark.parent)
    return None


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _history(log: list[dict]) -> pd.DataFrame:
    train = {entry["step"]: entry["loss"] for entry in log if "loss" in entry}
    history = _evaluations(log)
    history.insert(2, "train_loss", history.step.map(train))
    return history


def _evaluations(log: list[dict]) -> pd.DataFrame:
    """epoch, step and val_loss of each evaluation; one at a step, though a resumed run evaluates where it resumes."""
    rows = {entry["step"]: (round(entry["epoch"]), entry["eval_loss"]) for entry in log if "eval_loss" in entry}
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=["epoch", "val_loss"])
    return frame.rename_axis("step").reset_index()[["epoch", "step", "val_loss"]]
