"""How the time of `attribute` grows with examples, their tokens, and the adapter's parameters."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import linregress
from tqdm import tqdm

from ifcore import attribute, influence, io, loading, lora
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
    """Leave `scaling.csv` in `out`: what grows, its size, seconds; the fitted exponents are printed."""
    rows = []
    cells = [(what, *cell) for what, each in GROWING.items() for cell in each]
    for what, size, rank in tqdm(cells, desc="scaling", unit="run"):
        value = rank if what == "rank of the adapter" else getattr(size, SIZES[what])
        rows.append({"growing": what, "size": value, "seconds": _attributed(size, rank)})
    for n in ROWS:
        G, V = ({"block": torch.randn(each, 1_920)} for each in (n, 50))
        start = time.perf_counter()
        influence.summed(Gram.by_block(G, V), tuple(influence.METHODS))
        rows.append({"growing": "rows of a Gram matrix", "size": n, "seconds": time.perf_counter() - start})
    table = pd.DataFrame(rows)
    io.write_csv(out / "scaling.csv", table)
    for what, each in table.groupby("growing", sort=False):
        fit = linregress(each["size"].map(float).map(_log), each["seconds"].map(_log))
        print(f"{what}: seconds grow with the power {fit.slope:.2f} (standard error {fit.stderr:.2f})")


def _log(value: float) -> float:
    return float(torch.tensor(value).log())


def _attributed(size: job.Job, rank: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        job.make(size, Path(folder), rank)
        model, tokenizer = loading.load(f"path:{Path(folder) / 'base'}")
        model, rows = lora.with_adapter(model, Path(folder) / "adapter"), job.read(Path(folder))
        parts = [[{k: row[k] for k in ("prompt", "response")} for row in rows[part]] for part in ("train", "val")]
        attribute(model, tokenizer, parts[0][: job.BATCH], parts[1][:1], ("gradsim",), progress=False)  # warms up
        start = time.perf_counter()
        attribute(model, tokenizer, *parts, batch_size=job.BATCH, progress=False)
        return time.perf_counter() - start
