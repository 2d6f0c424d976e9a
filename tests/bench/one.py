"""One contender, once, in a process of its own: seconds, peak memory and scores into a folder.

python -m tests.bench.one CONTENDER PRECISION JOB_FOLDER OUT
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file


def main() -> None:
    name, precision, folder, out = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    module, function = name.split(".")
    work = getattr(importlib.import_module(f"tests.bench.{module}"), function)(folder, getattr(torch, precision))
    loaded = _peak()
    start = time.perf_counter()
    scores = work()
    seconds = time.perf_counter() - start
    out.mkdir(parents=True, exist_ok=True)
    if scores:
        save_file({method: each.float().contiguous() for method, each in scores.items()}, out / "scores.safetensors")
    record = {"seconds": seconds, "gib": _peak(), "gib_loaded": loaded, "torch": torch.__version__}
    (out / "record.json").write_text(json.dumps(record))


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
