"""Measures how the time of `attribute` grows with examples, their tokens, and the adapter's parameters."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import linregress
from tqdm import tqdm

from ifcore import attribute, io, loading, lora, methods
from ifcore.gram import Gram
from tests.bench import job

BASE = job.Job(train=16, val=8, shortest=64, longest=64)
GROWING = {
    "training examples": [(replace(BASE, train=n), 4) for n in (8, 16, 32, 64)],
    "explained examples": [(replace(BASE, val=m), 4) for m in (8, 16, 32, 64)],
    "tokens of an example": [(replace(BASE, shortest=t, longest=t), 4) for t in (64, 128, 256, 512)],
    "rank of the adapter": [(BASE, rank) for rank in (4, 16, 64)],
}
SIZES = {"training examples": "train", "explained examples": "val", "tokens of an example": "longest"}
ROWS = (250, 500, 1_000, 2_000)  # of the Gram matrices alone


def measure(out: Path) -> None:
    """Write `scaling.csv` to `out`: what grows, its size, seconds; print the fitted exponents."""
    rows = []
    cells = [(quantity, *cell) for quantity, cells in GROWING.items() for cell in cells]
    for quantity, size, rank in tqdm(cells, desc="scaling", unit="run"):
        value = rank if quantity == "rank of the adapter" else getattr(size, SIZES[quantity])
        rows.append({"growing": quantity, "size": value, "seconds": _attribution_seconds(size, rank)})
    for n in ROWS:
        G, V = ({"block": torch.randn(count, 1_920)} for count in (n, 50))
        start = time.perf_counter()
        methods.gram_scores(Gram.by_block(G, V), methods.OF_GRAM)
        rows.append({"growing": "rows of a Gram matrix", "size": n, "seconds": time.perf_counter() - start})
    table = pd.DataFrame(rows)
    io.write_csv(out / "scaling.csv", table)
    for quantity, group in table.groupby("growing", sort=False):
        fit = linregress(group["size"].map(float).map(_log), group["seconds"].map(_log))
        print(f"{quantity}: seconds grow with the power {fit.slope:.2f} (standard error {fit.stderr:.2f})")


def _log(value: float) -> float:
    return float(torch.tensor(value).log())


def _attribution_seconds(size: job.Job, rank: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        job.make(size, Path(folder), rank)
        model, tokenizer = loading.load(f"path:{Path(folder) / 'base'}")
        model, rows = lora.with_adapter(model, Path(folder) / "adapter"), job.read(Path(folder))
        parts = [[{k: row[k] for k in ("prompt", "response")} for row in rows[part]] for part in ("train", "val")]
        attribute(model, tokenizer, parts[0][: job.BATCH], parts[1][:1], ("gradsim",), progress=False)  # warms up
        start = time.perf_counter()
        attribute(model, tokenizer, *parts, batch_size=job.BATCH, progress=False)
        return time.perf_counter() - start
