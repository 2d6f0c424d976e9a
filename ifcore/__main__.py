"""The command line: `python -m ifcore attribute`."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from ifcore import io, sanitize

if TYPE_CHECKING:
    import pandas as pd

GRADIENTS, KEEP_MARK = "ifcore-gradients", "kept"
QUERIES = 10  # that the summary shows


def main() -> int:
    """Errors are one line, and a non-zero exit code."""
    arguments = _parse_arguments()
    try:
        _attribute(arguments)
        return 0
    except KeyboardInterrupt:
        message, code = f"stopped; the same command goes on from {arguments.out / GRADIENTS}", 130
    except (ValueError, OSError, RuntimeError, ImportError, SafetensorError) as error:
        message, code = f"ifcore attribute: {sanitize.printable(error)}", 1
    print(message, file=sys.stderr)  # only now, when no traceback keeps a progress bar open
    return code


def _parse_arguments() -> argparse.Namespace:
    from ifcore.methods import DEFAULT, OF_MODEL  # takes seconds

    parser = argparse.ArgumentParser(
        prog="python -m ifcore", description="Influence of training examples on a LoRA fine-tune."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    about = "Which training examples a fine-tune's responses come from: a table of scores for each method."
    command = commands.add_parser("attribute", help=about, description=about)
    add = command.add_argument
    add("--adapter", type=Path, required=True, metavar="FOLDER", help="what PEFT's save_pretrained left")
    base = "the base model: path:FOLDER or hub:OWNER/NAME; by default the one the adapter names"
    add("--model", metavar="SOURCE", help=base)
    fields = "JSON lines with prompt and response, or messages; id is optional"
    add("--train", type=Path, required=True, metavar="FILE", help=f"what the adapter was fine-tuned on; {fields}")
    add("--val", type=Path, required=True, metavar="FILE", help="the responses to explain; the same")
    out = "where to write one table per method (rows val, columns train); in CSV, an id that is a formula gets a '"
    add("--out", type=Path, required=True, metavar="FOLDER", help=out)
    add("--methods", nargs="+", choices=OF_MODEL, default=DEFAULT, metavar="METHOD", help=f"of {', '.join(OF_MODEL)}")
    add("--damping", type=float, default=0.1, help="relative to the mean squared gradient (default 0.1)")
    add("--iterations", type=int, default=10, help="of LiSSA (default 10)")
    add("--batch-size", type=int, default=8, help="sequences at a time (default 8)")
    add("--memory-budget", default="2GiB", help="for reading gradients; they are on disk (default 2GiB)")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the model (default float32)")
    add("--format", choices=("csv", "parquet"), default="csv", help="of the tables (default csv)")
    add("--top", type=int, default=5, help="training examples that the summary names for each response (default 5)")
    add("--keep-gradients", action="store_true", help="leave them, for further methods")
    return parser.parse_args()


def _attribute(arguments: argparse.Namespace) -> None:
    from ifcore.rows import read_jsonl

    if arguments.format == "parquet":
        import pyarrow  # noqa: F401  # by whose absence hours would be lost

    train, val = read_jsonl(arguments.train), read_jsonl(arguments.val)
    model, tokenizer = _load(arguments)
    from ifcore import attribute

    rank = int(os.environ.get("RANK", 0))
    scores = attribute(
        model,
        tokenizer,
        train,
        val,
        arguments.methods,
        damping=arguments.damping,
        iterations=arguments.iterations,
        batch_size=arguments.batch_size,
        memory_budget=arguments.memory_budget,
        store=arguments.out / GRADIENTS,
        progress=rank == 0,
    )
    if rank > 0:
        return
    for method, frame in scores.items():
        _write_table(arguments.out / f"{method}.{arguments.format}", frame)
    if arguments.keep_gradients:
        io.write_text(arguments.out / GRADIENTS / KEEP_MARK, "")
    elif not (arguments.out / GRADIENTS / KEEP_MARK).exists():
        shutil.rmtree(arguments.out / GRADIENTS, ignore_errors=True)
    print(_summary(scores, arguments.top, arguments.out))


def _load(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The model with the adapter, and the tokenizer: the adapter's own, where it has one."""
    base = _base(arguments.adapter)
    if not (source := arguments.model or base):
        raise ValueError(f"--adapter {arguments.adapter}: it names no base model; give --model")

    import torch
    from transformers import AutoTokenizer

    from ifcore import loading, lora

    device = "cpu"
    if cards := torch.cuda.device_count():
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % cards}"
    model, tokenizer = loading.load(source, getattr(torch, arguments.dtype), device)
    if (arguments.adapter / "tokenizer_config.json").is_file():  # with its chat template, which may be the fine-tune's
        tokenizer = AutoTokenizer.from_pretrained(arguments.adapter)
    try:
        return lora.with_adapter(model, arguments.adapter), tokenizer
    except (ValueError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        problem = f"can't be put on {source} ({' '.join(str(error).splitlines()[:2])})"
        remedy = "give the base it was trained on" if "size mismatch" in str(error) else "save it again"
        raise ValueError(f"--adapter {arguments.adapter}: {problem}; {remedy}") from error


def _write_table(path: Path, frame: pd.DataFrame) -> None:
    if path.suffix == ".parquet":
        io.write(path, frame.rename(index=str, columns=str).to_parquet)
        return
    returns = any("\r" in str(name) for name in (*frame.index, *frame.columns))  # which minimal quoting forgets
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    io.write(path, partial(frame.rename(index=sanitize.cell, columns=sanitize.cell).to_csv, quoting=quoting))


def _base(adapter: Path) -> str | None:
    """The source of the base model that an adapter names."""
    file = adapter / "adapter_config.json"
    if not file.is_file():
        raise ValueError(f"--adapter {adapter}: no adapter_config.json in it; give a folder of PEFT's save_pretrained")
    try:
        name = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (ValueError, AttributeError) as error:
        raise ValueError(f"--adapter {adapter}: {file.name} can't be read ({error}); save it again") from None
    return name and (f"path:{name}" if Path(name).is_dir() else f"hub:{name}")


def _summary(scores: dict, top: int, out: Path) -> str:
    """The most influential training examples of each query, a line a method."""
    first = next(iter(scores.values()))
    width = max(map(len, scores))
    lines = []
    for query in first.index[:QUERIES]:
        lines.append(f"val {sanitize.printable(query)}")
        for method, frame in scores.items():
            best = frame.loc[query].nlargest(top)
            examples = (f"{sanitize.printable(name)} ({value:.3g})" for name, value in best.items())
            lines.append(f"  {method:{width}}  " + "  ".join(examples))
    if len(first) > QUERIES:
        lines.append(f"… and {len(first) - QUERIES} more")
    lines.append(f"{out}/: {', '.join(scores)} (rows val, columns train; higher = more influential)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
