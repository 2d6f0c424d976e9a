"""How fast this project is, beside a bare pass, loops and its peers; tables in results/bench/.

    python -m tests.bench [PART …] [--jobs JOB …] [--contenders NAME …] [--repeats N] [--peers PYTHON]

Parts, all by default: `attribution` (whole jobs, a process a contender, in turn), `scores` (from gradients alone),
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
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)} (default all)")
    named = f"of attribution: some of {', '.join(attribution.CONTENDERS)} (default all)"
    parser.add_argument("--jobs", nargs="+", default=["small"], choices=JOBS, help="of attribution (default small)")
    parser.add_argument("--contenders", nargs="+", choices=attribution.CONTENDERS, metavar="NAME", help=named)
    parser.add_argument("--repeats", type=int, default=3, help="of each contender; medians are shown (default 3)")
    parser.add_argument("--peers", type=Path, help="the Python of the environment that has the peers")
    asked = parser.parse_args()
    if unknown := [part for part in asked.parts if part not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    if asked.repeats < 1:
        parser.error(f"--repeats: {asked.repeats}; must be 1 or more")
    if asked.peers and not asked.peers.exists():
        parser.error(f"--peers: no {asked.peers}; `make bench` makes it, or leave it out to run without peers")
    out = config.find_root() / "results" / "bench"
    works = {
        "attribution": lambda: attribution.measure(out, asked.jobs, asked.contenders, asked.repeats, asked.peers),
        "scores": lambda: scores.measure(out, asked.repeats),
        "scaling": lambda: scaling.measure(out),
        "large": lambda: large.measure(out),
        "rehearsal": lambda: rehearsal.measure(out),
        "training": lambda: training.main([]),
    }
    for part in asked.parts or PARTS:
        try:
            works[part]()
        except (ValueError, RuntimeError, OSError) as error:
            sys.exit(str(error))
        about = io.read_json(out / "run.json") | {"processor": _processor()}
        about[part] = provenance.provenance(config.find_root())
        io.write_json(out / "run.json", about)


def _processor() -> str:
    """Its name, and what it has of the instructions that matter to these times."""
    named, flags = platform.processor() or platform.machine(), torch.backends.cpu.get_cpu_capability()
    if Path("/proc/cpuinfo").exists():
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
        found = {name.strip(): value.strip() for name, _, value in lines}
        named = found.get("model name", named)
        flags += "".join(f", {flag}" for flag in ("avx512_bf16", "amx_bf16") if flag in found.get("flags", ""))
    return f"{named} ({os.cpu_count()} cores; {flags})"


if __name__ == "__main__":
    main()
