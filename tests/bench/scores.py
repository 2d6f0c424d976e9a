"""Times the way from gradients to scores: the two products that all need, the methods in Gram space, and the loops."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from ifcore import io, methods
from ifcore.gram import Gram
from tests.bench.loops import looped

N, M, BLOCKS, P = 900, 100, 120, 1_920
METHODS = ("gradsim", "datainf", "lissa", "exact")
LOOPED = 30, 3, 2  # train, val, blocks: the part on which the loops are timed
PANEL = 256 * 2**20
SQUARE, KINDS = 4_096, ("float32", "float64", "bfloat16")  # the product of two square matrices: the peak speed here


def measure(out: Path, repeats: int) -> None:
    """Write `scores.csv` to `out`: seconds of each round; print the medians.

    The loops are timed on a part and extrapolated to all training examples, validation examples and blocks. ValueError
    if their scores differ from the methods'.
    """
    torch.manual_seed(0)
    train, val = ({f"{b}": torch.randn(rows, P) for b in range(BLOCKS)} for rows in (N, M))
    n, m, blocks = LOOPED
    cut = [{b: grads[b][:rows] for b in list(grads)[:blocks]} for grads, rows in ((train, n), (val, m))]
    part = [[{b: grads[b][i] for b in grads} for i in range(rows)] for grads, rows in zip(cut, (n, m), strict=True)]
    expected = methods.gram_scores(Gram.by_block(*cut), METHODS)
    for method, scores in looped(*part).items():
        if not (scores - expected[method]).norm() <= 1e-3 * expected[method].norm():
            raise ValueError(f"loops: their {method} is another; nothing is timed")

    square = torch.randn(SQUARE, SQUARE)
    workloads: dict[str, tuple[Callable, float]] = {
        "two products, float32": (lambda: _products(train, val, torch.float32), 1),
        "two products, float64": (lambda: _products(train, val, torch.float64), 1),
        "four methods": (lambda: methods.gram_scores(Gram.by_block(train, val, PANEL), METHODS), 1),
        **{f"square, {kind}": (partial(_square, square.to(getattr(torch, kind))), 1) for kind in KINDS},
        "loops, extrapolated": (lambda: looped(*part), N * M * BLOCKS / (n * m * blocks)),
    }
    sizes = {"train": N, "val": M, "blocks": BLOCKS, "parameters": P}
    rows = []
    for round_ in range(repeats):
        for name, (work, factor) in workloads.items():
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
