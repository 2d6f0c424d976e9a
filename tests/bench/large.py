"""Scores gradients larger than memory, as many as Llama-2-7B's, from disk within a budget; measures time and memory."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from ifcore import io, methods
from ifcore.gradient_store import Store, shard
from ifcore.gram import Gram
from tests.bench import processes
from tests.bench.processes import peak

BLOCKS, P, N, M, ROWS = 128, 16_384, 1_900, 100, 8  # LoRA of rank 4 on q and v: 2.1 M parameters
BUDGET = 2 * 2**30  # bytes, the default of `attribute`
DISK_SHARE = 2  # at most half of the free disk is used


def measure(out: Path) -> None:
    """Write `large.csv` to `out`: bytes on disk, seconds, GiB of memory. A small disk gets fewer examples."""
    with tempfile.TemporaryDirectory() as folder:
        free = shutil.disk_usage(folder).free // DISK_SHARE
        train = min(N, free // (4 * BLOCKS * P) - M)
        if train < ROWS:
            raise ValueError(f"{folder}: {free / 2**30:.1f} GiB to spare; give TMPDIR a larger disk")
        size = sum(_write(Path(folder) / part, rows) for part, rows in (("train", train), ("val", M)))
        # In its own process, so that only the memory of scoring counts.
        result = processes.result("large", ["tests.bench.large", folder])
    row = {"train": train, "val": M, "parameters": BLOCKS * P, "gb": size / 1e9} | result
    io.write_csv(out / "large.csv", pd.DataFrame([row]))
    print(
        f"{train} + {M} gradients of {BLOCKS * P:,} parameters, {row['gb']:.1f} GB: scores in {row['seconds']:.0f} s, "
        f"{row['gib']:.2f} GiB at most, {row['gib_before']:.2f} of them before the first was read"
    )


def _write(folder: Path, rows: int) -> int:
    """Write random gradients as shards of `ROWS` examples; returns their bytes."""
    size = 0
    for number, start in enumerate(tqdm(range(0, rows, ROWS), desc=f"writing {folder.name}", unit="shard")):
        places = torch.arange(start, min(start + ROWS, rows))
        path = folder / f"{number:06d}.safetensors"
        io.write_tensors(path, shard(places, {f"{b:03d}": torch.randn(len(places), P) for b in range(BLOCKS)}))
        size += path.stat().st_size
    return size


def _score(folder: Path) -> dict[str, float]:
    before, start = peak(), time.perf_counter()
    train, val = (Store(sorted((folder / part).glob("*.safetensors"))) for part in ("train", "val"))
    scores = methods.gram_scores(Gram.by_block(train, val, BUDGET // 8), methods.OF_GRAM)
    assert all(score.isfinite().all() for score in scores.values())
    return {"seconds": time.perf_counter() - start, "gib": peak(), "gib_before": before}


if __name__ == "__main__":
    print(json.dumps(_score(Path(sys.argv[1]))))
