"""From gradients to scores: the two products that all need, the methods in Gram space, and the loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ifcore import influence, io
from ifcore.gram import Gram
from tests.bench.ours import looped

N, M, BLOCKS, P = 900, 100, 120, 1_920
METHODS = ("gradsim", "datainf", "lissa", "exact")
LOOPED = 30, 3, 2  # train, val, blocks: what the loops are timed on
PANEL = 256 * 2**20
SQUARE, KINDS = 4_096, ("float32", "float64", "bfloat16")  # of two square matrices: what a product can reach here


def measure(out: Path, repeats: int) -> None:
    """Leave `scores.csv` in `out`: seconds of each round. The medians are printed.

    The loops are timed on a part and multiplied by how much more there is of training examples, validation examples
    and blocks. Raises ValueError where they and the methods differ.
    """
    torch.manual_seed(0)
    train, val = ({f"{b}": torch.randn(rows, P) for b in range(BLOCKS)} for rows in (N, M))
    n, m, blocks = LOOPED
    part = [[{b: of[b][i] for b in list(of)[:blocks]} for i in range(rows)] for of, rows in ((train, n), (val, m))]
    few = [{b: of[b][:rows] for b in list(of)[:blocks]} for of, rows in ((train, n), (val, m))]
    expected = influence.summed(Gram.by_block(*few), METHODS)
    for method, found in looped(*part).items():
        if not (found - expected[method]).norm() <= 1e-3 * expected[method].norm():
            raise ValueError(f"loops: their {method} is another; nothing is timed")

    square = torch.randn(SQUARE, SQUARE)
    works: dict[str, tuple[Callable, float]] = {
        "two products, float32": (lambda: _products(train, val, torch.float32), 1),
        "two products, float64": (lambda: _products(train, val, torch.float64), 1),
        "four methods": (lambda: influence.summed(Gram.by_block(train, val, PANEL), METHODS), 1),
        **{f"square, {kind}": (partial(_square, square.to(getattr(torch, kind))), 1) for kind in KINDS},
        "loops, extrapolated": (lambda: looped(*part), N * M * BLOCKS / (n * m * blocks)),
    }
    sizes = {"train": N, "val": M, "blocks": BLOCKS, "parameters": P}
    rows = []
    for round_ in range(repeats):
        for name, (work, factor) in works.items():
            start = time.perf_counter()
            work()
            seconds = factor * (time.perf_counter() - start)
            operations = 2 * SQUARE**3 if name.startswith("square") else 2 * N * (N + M) * BLOCKS * P
            rows.append({"work": name, "round": round_, "seconds": seconds, "operations": operations, **sizes})
    table = pd.DataFrame(rows)
    io.write_csv(out / "scores.csv", table)
    print(f"N = {N}, M = {M}, {BLOCKS} blocks of {P}")
    print(table.groupby("work", sort=False)["seconds"].median().round(2).to_string())


def _products(train: dict[str, Tensor], val: dict[str, Tensor], dtype: torch.dtype) -> None:
    for block in train:
        G, V = train[block].to(dtype), val[block].to(dtype)
        G @ G.T, V @ G.T


def _square(matrix: Tensor) -> None:
    matrix @ matrix
