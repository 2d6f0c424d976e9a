"""Times whole jobs: every contender in its own process, one after another, round by round."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from tqdm import tqdm

from ifcore import io
from tests.bench import job, processes

RELATIVE = 1e-3  # the bound on the difference from the reference's scores, relative to their norm
PLAIN, SMALLER, TUNED = ("small", "large", "long", "wide"), ("small",), ("tuned",)


@dataclass(frozen=True)
class Contender:
    """Its function and precision, and the jobs that it is neither too slow nor too large for.

    `reference`: the contender that its scores must agree with, method by method, within RELATIVE, or, where precision
    or chance make a difference, with this `correlation` at least.
    """

    function: str
    jobs: tuple[str, ...] = PLAIN
    precision: str = "float32"
    reference: str = "ifcore"
    correlation: float | None = None

    @property
    def is_peer(self) -> bool:
        return self.function.startswith("peers.")


CONTENDERS = {
    "floor": Contender("contenders.floor"),
    "gradients": Contender("contenders.gradients"),
    "ifcore": Contender("contenders.engine"),
    "whole-floor": Contender("contenders.whole_floor"),
    "stock-floor": Contender("contenders.stock_floor"),
    "loops": Contender("loops.first_order", ("small", "long", "wide")),
    "bergson": Contender("peers.bergson"),
    "kronfluence": Contender("peers.kronfluence"),
    "dattri": Contender("peers.dattri", SMALLER),
    "ifcore-ekfac": Contender("contenders.engine_ekfac"),
    "kronfluence-ekfac": Contender("peers.kronfluence_ekfac", SMALLER, reference="ifcore-ekfac"),
    "ifcore-ekfac-sampled": Contender("contenders.engine_ekfac_sampled", SMALLER),
    # Its labels are ours but for the few where rounding decides between two tokens.
    "kronfluence-ekfac-sampled": Contender(
        "peers.kronfluence_ekfac_sampled", SMALLER, reference="ifcore-ekfac-sampled", correlation=0.98
    ),
    # Two random projections of one gradient: both estimate the whole one's products, bergson's with more variance.
    "ifcore-projected": Contender("contenders.engine_projected", SMALLER, correlation=0.95),
    "bergson-projected": Contender("peers.bergson_projected", SMALLER, correlation=0.8),
    "ifcore-rept": Contender("contenders.engine_rept", SMALLER),
    "loops-rept": Contender("loops.rept", SMALLER, reference="ifcore-rept"),
    "floor-bf16": Contender("contenders.floor", precision="bfloat16"),
    "ifcore-bf16": Contender("contenders.engine", precision="bfloat16", correlation=0.99),
    "bergson-bf16": Contender("peers.bergson", precision="bfloat16", correlation=0.99),
    "fine-tune": Contender("contenders.fine_tune", TUNED),
    "ifcore-unrolled": Contender("contenders.engine_unrolled", TUNED),
    # AdamW's first step is nearly the gradient's sign: its derivative is large where a gradient is about 10⁻⁸, and
    # float32 knows such a gradient to a few percent. With all in float64 both agree to 6·10⁻⁶.
    "bergson-magic": Contender("peers.bergson_magic", TUNED, reference="ifcore-unrolled", correlation=0.99),
    "ifcore-tracin": Contender("contenders.engine_tracin", TUNED),
    "dattri-tracin": Contender("peers.dattri_tracin", TUNED, reference="ifcore-tracin"),
    "ifcore-source": Contender("contenders.engine_source", TUNED),
    "loops-source": Contender("loops.source", TUNED, reference="ifcore-source"),
}


def measure(out: Path, jobs: Sequence[str], named: Sequence[str] | None, repeats: int, peers: Path | None) -> None:
    """Write `attribution.csv` to `out`, a row for each job, contender and round, and print the medians.

    Its rows of other jobs and contenders stay. RuntimeError for a contender that fails, ValueError for scores that
    differ from the reference's: then no time of that job is saved or printed.
    """
    work = {name: selected for name in jobs if (selected := _selected(name, named, peers is not None))}
    if not work:
        raise ValueError(f"contenders: none of {', '.join(named or ())} for {', '.join(jobs)}; name another by --jobs")
    with tqdm(desc="bench", total=repeats * sum(map(len, work.values())), unit="run") as bar:
        for name, contenders in work.items():
            with tempfile.TemporaryDirectory() as scratch:
                table = pd.DataFrame(_rows(name, contenders, repeats, peers, Path(scratch), bar))
            if table.torch.nunique() > 1:
                raise ValueError(f"torch: {', '.join(table.torch.unique())}; install the same in both environments")
            others = _others(out / "attribution.csv", name, contenders)
            io.write_csv(out / "attribution.csv", pd.concat([others, table]))
            print(table.groupby(["job", "contender"], sort=False)[["seconds", "gib"]].median().round(2).to_string())


def _selected(name: str, named: Sequence[str] | None, with_peers: bool) -> list[str]:
    """The contenders of a job, of those named if any are, and those whose scores theirs must be."""
    able = [key for key in CONTENDERS if name in CONTENDERS[key].jobs and (with_peers or not CONTENDERS[key].is_peer)]
    chosen = [key for key in able if named is None or key in named]
    references = [CONTENDERS[key].reference for key in chosen]
    return [key for key in able if key in chosen or key in references]


def _rows(name: str, contenders: Sequence[str], repeats: int, peers: Path | None, folder: Path, bar) -> list[dict]:
    sizes, rows = job.make(job.JOBS[name], folder), []
    for round_ in range(repeats):
        for key in contenders:
            bar.set_postfix_str(f"{name}: {key}")
            contender = CONTENDERS[key]
            python = peers.absolute() if contender.is_peer and peers else sys.executable
            command = ["tests.bench.one", contender.function, contender.precision, str(folder), str(_file(folder, key))]
            result = processes.result(key, command, python)
            rows.append({"job": name, "contender": key, "round": round_, **sizes, **result})
            bar.update()
        if round_ == 0:
            off = {key: _off(key, folder) for key in contenders}
    return [row | {"off": off[row["contender"]]} for row in rows]


def _others(file: Path, name: str, contenders: Sequence[str]) -> pd.DataFrame:
    """The rows of a table for other jobs or other contenders."""
    if not file.exists():
        return pd.DataFrame()
    table = pd.read_csv(file)
    return table[(table.job != name) | ~table.contender.isin(contenders)]


def _off(key: str, folder: Path) -> float | None:
    """The largest relative difference of its scores from the reference's; None if they have none in common."""
    worst, asked = None, CONTENDERS[key].correlation
    expected = _scores(folder, CONTENDERS[key].reference)
    for method, scores in _scores(folder, key).items():
        if (reference := expected.get(method)) is None:
            continue
        off = float((scores - reference).norm() / reference.norm())
        alike = float(torch.corrcoef(torch.stack([scores.flatten(), reference.flatten()]))[0, 1])
        if not (off <= RELATIVE if asked is None else alike >= asked):
            raise ValueError(f"{key}: its {method} is off by {off:.2g} (correlation {alike:.3f}); no times")
        worst = max(off, worst or 0.0)
    return worst


def _scores(folder: Path, contender: str) -> dict[str, torch.Tensor]:
    file = _file(folder, contender)
    return load_file(file) if file.exists() else {}


def _file(folder: Path, contender: str) -> Path:
    return folder / f"{contender}.safetensors"
