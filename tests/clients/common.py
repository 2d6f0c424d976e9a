"""What all clients share: rows on disk, gradients by the trainer's own loss, and the command's table of the same."""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, load_dataset
from torch import Tensor
from transformers import Trainer

ROOT = Path(__file__).parents[2]
TOLERANCE = 1e-4  # of a product of gradients, beside the product of their norms
TRAINING = {  # settings of every fine-tune: on the CPU, in float32, as the command computes
    "max_steps": 2,
    "per_device_train_batch_size": 4,
    "learning_rate": 5e-3,
    "bf16": False,
    "use_cpu": True,
    "report_to": "none",
    "save_strategy": "no",
    "disable_tqdm": True,
    "seed": 0,
}


# Trains in a folder on files that it writes there, from a base model's folder: the trainer, and options of the command.
Client = Callable[[Path, Path], tuple[Trainer, list[str]]]


def run_clients(clients: Mapping[str, Client]) -> int:
    """All that are named on the command line, or simply all; the exit code is the number that fail."""
    parser = argparse.ArgumentParser(description="Compare attributions with gradients of the trainer's own loss.")
    parser.add_argument("model", type=Path, help="the folder of SmolLM2-135M-Instruct")
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=f"some of {', '.join(clients)} (default all)")
    arguments = parser.parse_args()
    if unknown := set(arguments.clients) - clients.keys():
        parser.error(f"no client {', '.join(sorted(unknown))}; choose from {', '.join(clients)}")
    results = {name: passes(name, clients[name], arguments.model.resolve()) for name in arguments.clients or clients}
    print(f"\n{sum(results.values())} of {len(results)} as trained", end="")
    print("".join(f"; {name} FAILED" for name, passed in results.items() if not passed))
    return sum(not passed for passed in results.values())


def passes(name: str, client: Client, model: Path) -> bool:
    """Whether the command's table is the trainer's, which are both printed."""
    print(f"\n{name}", flush=True)
    start = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            trainer, options = client(Path(folder), model)
            expected, norms = expected_scores(trainer)
            scores = command_scores(Path(folder), model, options)
        error = relative_error(scores, expected, norms)
    except Exception:
        traceback.print_exc()
        print(f"{name}: FAILED", flush=True)
        return False
    torch.set_printoptions(precision=6, linewidth=160)
    print(f"trainer's own loss:\n{expected}\nifcore attribute {' '.join(options)}:\n{scores}")
    verdict = "as trained" if error <= TOLERANCE else f"FAILED, as more than {TOLERANCE:g}"
    print(f"{name}: relative error {error:.1e}: {verdict} ({time.perf_counter() - start:.0f} s)", flush=True)
    return error <= TOLERANCE


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def load_rows(path: Path) -> Dataset:
    """As users load the file that they train on."""
    return load_dataset("json", data_files=str(path), split="train", cache_dir=str(path.parent / "cache"))


def expected_scores(trainer: Trainer) -> tuple[Tensor, Tensor]:
    """Products of the gradients of the trainer's own loss, a row at a time, and of their norms: each [M, N] of its eval
    and training rows."""
    val = torch.stack([gradient(trainer, row) for row in trainer.eval_dataset])  # [M, P]
    columns, norms = [], []
    for row in trainer.train_dataset:
        train = gradient(trainer, row)
        columns.append(val @ train)
        norms.append(train.norm())
    return torch.stack(columns, dim=1), torch.outer(val.norm(dim=1), torch.stack(norms))


def gradient(trainer: Trainer, row: Mapping[str, Any]) -> Tensor:
    """The gradient of one row's loss with respect to all that the adapter trains, in float64: [P]."""
    trainer.model.eval()
    trained = [parameter for parameter in trainer.model.parameters() if parameter.requires_grad]
    batch = trainer.data_collator([{name: row[name] for name in ("input_ids", "labels")}])
    grads = torch.autograd.grad(trainer.compute_loss(trainer.model, batch), trained)
    return torch.cat([grad.flatten().double() for grad in grads])


def command_scores(folder: Path, model: Path, options: Sequence[str]) -> Tensor:
    """The table that `ifcore attribute` makes of the same files: [M, N]."""
    files = ["--adapter", folder / "adapter", "--train", folder / "train.jsonl", "--val", folder / "val.jsonl"]
    command = [sys.executable, "-m", "ifcore", "attribute", "--model", model, *files, "--out", folder / "scores"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*map(str, command), "--methods", "gradsim", *options], env=environment, text=True, capture_output=True
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    with (folder / "scores" / "gradsim.csv").open(newline="", encoding="utf-8") as file:
        _, *lines = csv.reader(file)
    return torch.tensor([[float(cell) for cell in line[1:]] for line in lines], dtype=torch.float64)


def relative_error(scores: Tensor, expected: Tensor, norms: Tensor) -> float:
    """The largest error of a product, beside the product of the norms: some products cancel out to almost nothing."""
    if scores.shape != expected.shape:
        raise ValueError(f"the command's table is {list(scores.shape)}, the trainer's {list(expected.shape)}")
    return ((scores - expected).abs() / norms).max().item()
