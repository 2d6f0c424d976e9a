"""Times whole jobs: every contender in its own process, one after another, round by round."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from ifcore import io
from tests.bench import job, processes

# name -> its function, its precision, whether it is a peer, the jobs that it is too slow or too large for
CONTENDERS: dict[str, tuple[str, str, bool, tuple[str, ...]]] = {
    "floor": ("contenders.floor", "float32", False, ()),
    "gradients": ("contenders.gradients", "float32", False, ()),
    "ifcore": ("contenders.engine", "float32", False, ()),
    "whole-floor": ("contenders.whole_floor", "float32", False, ()),
    "stock-floor": ("contenders.stock_floor", "float32", False, ()),
    "loops": ("contenders.loops", "float32", False, ("large",)),
    "bergson": ("peers.bergson", "float32", True, ()),
    "kronfluence": ("peers.kronfluence", "float32", True, ()),
    "dattri": ("peers.dattri", "float32", True, ("large", "long", "wide")),
    "ifcore-ekfac": ("contenders.engine_ekfac", "float32", False, ()),
    "kronfluence-ekfac": ("peers.kronfluence_ekfac", "float32", True, ("large", "long", "wide")),
    "floor-bf16": ("contenders.floor", "bfloat16", False, ()),
    "ifcore-bf16": ("contenders.engine", "bfloat16", False, ()),
    "bergson-bf16": ("peers.bergson", "bfloat16", True, ()),
}
REFERENCES = ("ifcore", "ifcore-ekfac")
RELATIVE, CORRELATION = 1e-3, 0.99  # bounds on the difference from the reference's scores, in float32 and in bfloat16


def measure(out: Path, jobs: Sequence[str], named: Sequence[str] | None, repeats: int, peers: Path | None) -> None:
    """Write `attribution.csv` to `out`, a row for each job, contender and round, and print the medians.

    Its rows of other jobs and contenders stay. RuntimeError for a contender that fails, ValueError for scores that
    differ from the reference's: then no time of that job is saved or printed.
    """
    wanted = [*named, *REFERENCES] if named else list(CONTENDERS)
    selected = [key for key in CONTENDERS if key in wanted and (peers or not CONTENDERS[key][2])]
    work = {name: [key for key in selected if name not in CONTENDERS[key][3]] for name in jobs}
    with tqdm(desc="bench", total=repeats * sum(map(len, work.values())), unit="run") as bar:
        for name, contenders in work.items():
            with tempfile.TemporaryDirectory() as scratch:
                table = pd.DataFrame(_rows(name, contenders, repeats, peers, Path(scratch), bar))
            if table.torch.nunique() > 1:
                raise ValueError(f"torch: {', '.join(table.torch.unique())}; install the same in both environments")
            others = _others(out / "attribution.csv", name, contenders)
            io.write_csv(out / "attribution.csv", pd.concat([others, table]))
            print(table.groupby(["job", "contender"], sort=False)[["seconds", "gib"]].median().round(2).to_string())


def _rows(name: str, contenders: Sequence[str], repeats: int, peers: Path | None, folder: Path, bar) -> list[dict]:
    sizes, rows = job.make(job.JOBS[name], folder), []
    for round_ in range(repeats):
        for contender in contenders:
            bar.set_postfix_str(f"{name}: {contender}")
            where, precision, is_peer, _ = CONTENDERS[contender]
            python = peers.absolute() if is_peer and peers else sys.executable
            scores = str(_file(folder, contender))
            result = processes.result(contender, ["tests.bench.one", where, precision, str(folder), scores], python)
            rows.append({"job": name, "contender": contender, "round": round_, **sizes, **result})
            bar.update()
        if round_ == 0:
            off = {contender: _off(contender, folder) for contender in contenders}
    return [row | {"off": off[row["contender"]]} for row in rows]


def _others(file: Path, name: str, contenders: Sequence[str]) -> pd.DataFrame:
    """The rows of a table for other jobs or other contenders."""
    if not file.exists():
        return pd.DataFrame()
    table = pd.read_csv(file)
    return table[(table.job != name) | ~table.contender.isin(contenders)]


def _off(contender: str, folder: Path) -> float | None:
    """The largest relative difference of its scores from the reference's; None if it has no scores."""
    worst = None
    for method, scores in _scores(folder, contender).items():
        for reference in (_scores(folder, name).get(method) for name in REFERENCES):
            if reference is None:
                continue
            off = float((scores - reference).norm() / reference.norm())
            alike = float(torch.corrcoef(torch.stack([scores.flatten(), reference.flatten()]))[0, 1])
            if not (off <= RELATIVE if CONTENDERS[contender][1] == "float32" else alike >= CORRELATION):
                raise ValueError(f"{contender}: its {method} is off by {off:.2g} (correlation {alike:.3f}); no times")
            worst = max(off, worst or 0.0)
    return worst


def _scores(folder: Path, contender: str) -> dict[str, torch.Tensor]:
    file = _file(folder, contender)
    return load_file(file) if file.exists() else {}


def _file(folder: Path, contender: str) -> Path:
    return folder / f"{contender}.safetensors"
