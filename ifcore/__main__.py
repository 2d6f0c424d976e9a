"""The command line: `python -m ifcore attribute`."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from ifcore import io, run_folder, sanitize

EXAMPLE = """\
example, of a fine-tune by TRL's SFTTrainer on messages, which trains on all tokens:
  python -m ifcore attribute --adapter my-adapter --train train.jsonl --val asked.jsonl --out scores/ --loss-on all
"""


def main() -> int:
    """Errors are one line, and a non-zero exit code."""
    arguments = _parse_arguments()
    try:
        _attribute(arguments)
        return 0
    except KeyboardInterrupt:
        message, code = f"stopped; the same command goes on from {arguments.out}", 130
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError | ImportError) else f"{type(error).__name__}: "
        message, code = f"ifcore attribute: {kind}{sanitize.printable(error)}", 1
    print(message, file=sys.stderr)  # only now, when no traceback keeps a progress bar open
    return code


def _parse_arguments() -> argparse.Namespace:
    from ifcore.methods import DEFAULT, METHODS, OF_MODEL  # takes seconds
    from ifcore.tokens import LossOn, Reduction, Side

    parser = argparse.ArgumentParser(
        prog="python -m ifcore", description="Influence of training examples on a LoRA fine-tune."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    about = "Which training examples a fine-tune's responses come from: a table of scores for each method."
    listed = "\n".join(f"  {key:9}{METHODS[key].about} ({METHODS[key].reference})" for key in OF_MODEL)
    command = commands.add_parser(
        "attribute",
        help=about,
        description=about,
        epilog=f"methods:\n{listed}\n\n{EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = command.add_argument
    add("--adapter", type=Path, required=True, metavar="FOLDER", help="what PEFT's save_pretrained or a trainer left")
    base = "the base model: a folder or hub:OWNER/NAME; by default the one the adapter names"
    add("--model", metavar="SOURCE", help=base)
    formats = "JSON lines or array, CSV, Parquet, folder of Dataset.save_to_disk, with messages, prompt and response, "
    formats += "prompt and completion, instruction and output, conversations, text, or input_ids; id is optional"
    add("--train", type=Path, required=True, metavar="FILE", help=f"what the adapter was fine-tuned on: {formats}")
    add("--val", type=Path, required=True, metavar="FILE", help="the responses to explain: the same")
    out = "where to write one table per method (rows val, columns train); in CSV, an id that is a formula gets a '"
    add("--out", type=Path, required=True, metavar="FOLDER", help=out)
    add("--replace", action="store_true", help="remove what another run left in that folder")
    methods = f"of those below, separated by commas or spaces (default {','.join(DEFAULT)})"
    add("--methods", nargs="+", default=[",".join(DEFAULT)], metavar="METHOD", help=methods)
    loss = command.add_argument_group("the loss that was trained")
    tokens = "the tokens that count: last answer, each answer of the assistant, or all; auto: last, or all of a text"
    loss.add_argument("--loss-on", choices=get_args(LossOn), default="auto", help=tokens)
    reduction = (
        "of a row over them: mean, sum, or the mean weighted by how many tokens they are, as in a trainer's batch"
    )
    loss.add_argument("--reduction", choices=get_args(Reduction), default="mean", help=reduction)
    loss.add_argument("--max-length", type=int, metavar="TOKENS", help="to which the trainer cut a row (TRL: 1024)")
    loss.add_argument("--truncation-side", choices=get_args(Side), default="right", help="where it cut")
    template = "auto (the tokenizer's), none (texts as they stand), or a file"
    loss.add_argument("--chat-template", default="auto", metavar="TEMPLATE", help=template)
    loss.add_argument("--date", metavar="YYYY-MM-DD", help="the day of the fine-tune, for templates that write it")
    loss.add_argument("--skip-empty", action="store_true", help="leave out rows with nothing in their loss")
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
    if arguments.format == "parquet" and importlib.util.find_spec("pyarrow") is None:  # else hours would be lost
        raise ImportError("--format parquet: it is written by pyarrow, which is not here; pip install pyarrow")
    if arguments.out.resolve() == arguments.adapter.resolve():
        raise ValueError(f"--out {arguments.out}: it is the adapter's folder; name another")
    import torch

    from ifcore import attribute, loading
    from ifcore.adapters import base_of, load_adapter
    from ifcore.attribution import barrier
    from ifcore.methods import check_methods
    from ifcore.row_files import read_rows
    from ifcore.rows import by_id
    from ifcore.tokens import Loss

    methods = [key for given in arguments.methods for key in given.split(",") if key]
    check_methods(methods, arguments.damping, arguments.iterations)
    names = ("loss_on", "reduction", "max_length", "truncation_side", "chat_template", "date")
    loss = Loss(**{name: getattr(arguments, name) for name in names})
    rows = {part: by_id(read_rows(getattr(arguments, part)), part) for part in ("train", "val")}
    try:
        source = arguments.model or base_of(arguments.adapter)
        model, tokenizer = load_adapter(arguments.adapter, source, getattr(torch, arguments.dtype))
    except ValueError as error:
        of_base = str(error).startswith("model:")
        raise ValueError(str(error) if of_base else f"--adapter {arguments.adapter}: {error}") from error
    options = {name: getattr(arguments, name) for name in ("damping", "iterations", "skip_empty")}
    rank = int(os.environ.get("RANK", 0))
    if rank == 0:
        settings = _settings(arguments, asdict(loss) | options, loading.identity(loading.check(source)), tokenizer)
        run_folder.open_folder(arguments.out, settings, arguments.replace)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        barrier()()  # else another process may write into a folder that is not open yet
    scores = attribute(
        model,
        tokenizer,
        rows["train"].values(),
        rows["val"].values(),
        methods,
        batch_size=arguments.batch_size,
        memory_budget=arguments.memory_budget,
        store=arguments.out / run_folder.GRADIENTS,
        progress=rank == 0,
        **asdict(loss),
        **options,
    )
    if rank > 0:
        return
    for method, frame in scores.items():
        run_folder.write_table(arguments.out / f"{method}.{arguments.format}", frame)
    run_folder.close_folder(arguments.out, arguments.keep_gradients)
    print(run_folder.summary(scores, rows, tokenizer, arguments.top, arguments.out))


def _settings(arguments: argparse.Namespace, options: dict[str, Any], model: str, tokenizer: Any) -> dict[str, Any]:
    """What determines the tables: options, and the content of all that is read."""
    files = {part: _digest(getattr(arguments, part)) for part in ("train", "val", "adapter")}
    return {**options, "dtype": arguments.dtype, "model": model, **files, "template": str(tokenizer.chat_template)}


def _digest(path: Path) -> str:
    """The content of a file, or of what a folder has of an adapter."""
    suffixes = (".json", ".safetensors", ".jinja", ".model", ".txt", ".arrow")
    files = sorted(file for file in path.iterdir() if file.suffix in suffixes) if path.is_dir() else [path]
    content = [f"{file.name} {io.sha256(file)}" for file in files if file.name != run_folder.RECORD]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
