"""Runs one contender once and prints its seconds and peak memory; its scores go to a file.

python -m tests.bench.one CONTENDER PRECISION JOB_FOLDER SCORES
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.bench.processes import peak


def main() -> None:
    name, precision, folder, out = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    module, function = name.split(".")
    work = getattr(importlib.import_module(f"tests.bench.{module}"), function)(folder, getattr(torch, precision))
    start = time.perf_counter()
    scores = work()
    result = {"seconds": time.perf_counter() - start, "gib": peak()}
    if scores:
        save_file({method: score.float().contiguous() for method, score in scores.items()}, out)
    result |= {"torch": torch.__version__, "threads": torch.get_num_threads(), "version": ""}
    with suppress(PackageNotFoundError):
        result["version"] = version(function.partition("_")[0]) if module == "peers" else ""
    print(json.dumps(result))


if __name__ == "__main__":
    main()
