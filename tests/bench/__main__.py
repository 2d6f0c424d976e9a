"""Compares this project's speed with a bare pass, loops and its peers; leaves tables in results/bench/.

    python -m tests.bench [PART …] [--jobs JOB …] [--contenders NAME …] [--repeats N] [--peers PYTHON]

Parts, all by default: `attribution` (whole jobs, one process per contender), `scores` (from gradients alone),
`scaling` (how time grows with examples, tokens and parameters), `large` (16 GB of gradients within 2 GiB of memory),
`rehearsal` (the paper's profile at true widths), `training` (fine-tuning against bare passes).
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from pathlib import Path

import torch

from ifcore import io
from study import config
from study.report import provenance
from tests.bench import attribution, large, rehearsal, scaling, scores, training
from tests.bench.job import JOBS

PARTS = ("attribution", "scores", "scaling", "large", "rehearsal", "training")


def main() -> None:
    arguments = _parse_arguments()
    out = config.find_root() / "results" / "bench"
    measurements = {
        "attribution": lambda: attribution.measure(
            out, arguments.jobs, arguments.contenders, arguments.repeats, arguments.peers
        ),
        "scores": lambda: scores.measure(out, arguments.repeats),
        "scaling": lambda: scaling.measure(out),
        "large": lambda: large.measure(out),
        "rehearsal": lambda: rehearsal.measure(out),
        "training": lambda: training.main([]),
    }
    for part in arguments.parts or PARTS:
        try:
            measurements[part]()
        except (ValueError, RuntimeError, OSError) as error:
            sys.exit(str(error))
        record = io.read_json(out / "run.json") | {"processor": _processor()}
        record[part] = provenance.provenance(config.find_root())
        io.write_json(out / "run.json", record)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default all)")
    names = f"of attribution: some of {', '.join(attribution.CONTENDERS)} (default all)"
    default = ["small", "tuned"]
    about = f"of attribution (default {' '.join(default)})"
    parser.add_argument("--jobs", nargs="+", default=default, choices=JOBS, help=about)
    parser.add_argument("--contenders", nargs="+", choices=attribution.CONTENDERS, metavar="NAME", help=names)
    parser.add_argument("--repeats", type=int, default=3, help="of each contender; medians are shown (default 3)")
    parser.add_argument("--peers", type=Path, help="the Python of the environment that has the peers")
    arguments = parser.parse_args()
    if unknown := [part for part in arguments.parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    if arguments.repeats < 1:
        parser.error(f"--repeats: {arguments.repeats}; must be 1 or more")
    if arguments.peers and not arguments.peers.exists():
        parser.error(f"--peers: no {arguments.peers}; `make bench` makes it, or leave it out to run without peers")
    return arguments


def _processor() -> str:
    """The processor's name, cores, and the instruction sets that matter to these times."""
    name, flags = platform.processor() or platform.machine(), torch.backends.cpu.get_cpu_capability()
    if Path("/proc/cpuinfo").exists():
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        fields = {name.strip(): value.strip() for name, _, value in lines}
        name = fields.get("model name", name)
        flags += "".join(f", {flag}" for flag in ("avx512_bf16", "amx_bf16") if flag in fields.get("flags", ""))
    return f"{name} ({os.cpu_count()} cores; {flags})"


if __name__ == "__main__":
    main()
