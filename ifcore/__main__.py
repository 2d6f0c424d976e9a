"""The command line: `python -m ifcore attribute`, `python -m ifcore validate`."""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ifcore import io, run_folder, sanitize
from ifcore.command_options import parse_arguments

if TYPE_CHECKING:
    from ifcore.examples import Row
    from ifcore.tokens import Loss


def main() -> int:
    """Errors are one line, and a non-zero exit code."""
    arguments = parse_arguments()
    place = arguments.out if arguments.command == "attribute" else arguments.bank
    try:
        {"attribute": _attribute, "validate": _validate}[arguments.command](arguments)
        return 0
    except KeyboardInterrupt:
        message, code = f"stopped; the same command goes on from {place}", 130
    except Exception as error:
        kind = "" if isinstance(error, ValueError | OSError | ImportError) else f"{type(error).__name__}: "
        message, code = f"ifcore {arguments.command}: {kind}{sanitize.printable(error)}", 1
    print(message, file=sys.stderr)  # only now, when no traceback keeps a progress bar open
    return code


def _attribute(arguments: argparse.Namespace) -> None:
    if arguments.format == "parquet" and importlib.util.find_spec("pyarrow") is None:  # else hours would be lost
        raise ImportError("--format parquet: it is written by pyarrow, which is not here; pip install pyarrow")
    if arguments.out.resolve() == arguments.adapter.resolve():
        raise ValueError(f"--out {arguments.out}: it is the adapter's folder; name another")
    from ifcore import attribute, loading
    from ifcore.inputs import barrier, process_share
    from ifcore.methods import check_methods

    methods = _methods(arguments)
    options = {name: getattr(arguments, name) for name in ("damping", "iterations", "skip_empty", "projection")}
    check_methods(methods, arguments.damping, arguments.iterations, arguments.checkpoints, arguments.projection)
    loss, rows, source, model, tokenizer = _read(arguments)
    rank, processes = process_share()
    if rank == 0:
        settings = _settings(arguments, asdict(loss) | options, loading.identity(loading.check(source)), tokenizer)
        run_folder.open_folder(arguments.out, settings, arguments.replace)
    if processes > 1:
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
        checkpoints=arguments.checkpoints,
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


def _validate(arguments: argparse.Namespace) -> None:
    from ifcore import Settings, validate, validation_report
    from ifcore.training import SETTINGS

    given = {
        name: getattr(arguments, name)
        for name in ("epochs", "learning_rate", "train_batch_size", "train_seed", "micro_batch")
    }
    given = {name.removeprefix("train_"): value for name, value in given.items() if value is not None}
    settings = io.read_json(arguments.checkpoints / SETTINGS) if arguments.checkpoints else {}
    options = {"epochs": "--epochs", "learning_rate": "--learning-rate", "batch_size": "--train-batch-size"}
    if missing := [option for name, option in options.items() if name not in settings | given]:
        raise ValueError(f"{', '.join(missing)}: not given; say how it was fine-tuned, or name its --checkpoints")
    methods = run_folder.read_tables(arguments.scores) if arguments.scores else _methods(arguments)
    if arguments.scores:
        record = io.read_json(arguments.scores / run_folder.RECORD)
        for name in ("adapter", "train", "val"):
            if name in record and record[name] != _digest(getattr(arguments, name)):
                raise ValueError(
                    f"--scores {arguments.scores}: they are of another --{name}; give that, or compute them"
                )
    loss, rows, _, model, tokenizer = _read(arguments)
    if arguments.scores:
        for name, value in (asdict(loss) | _template(asdict(loss), tokenizer)).items():
            if name in record and record[name] != value:
                other = "another chat template" if name == "template" else f"{name} {record[name]}, not {value}"
                raise ValueError(
                    f"--scores {arguments.scores}: they are of {other}; give the same loss, or compute them"
                )
    names = ["bank", "subsets", "replicates", "remove", "leave_one_out", "minutes", "damping", "iterations", "seed"]
    names += ["checkpoints", "start", "batch_size", "memory_budget"]
    chosen = {name: getattr(arguments, name) for name in names}
    validation = validate(
        model,
        tokenizer,
        rows["train"].values(),
        rows["val"].values(),
        methods,
        settings=Settings(**(settings | given)),
        **asdict(loss),
        **chosen,
    )
    places = validation_report.write(validation, arguments.out or arguments.bank)
    print(f"{validation_report.report(validation)}\n{places}")


def _methods(arguments: argparse.Namespace) -> list[str]:
    return [key for given in arguments.methods for key in given.split(",") if key]


def _read(arguments: argparse.Namespace) -> tuple[Loss, dict[str, dict[Any, Row]], str, Any, Any]:
    """The loss, the rows, the base's source, the model with its adapter and the tokenizer."""
    import torch

    from ifcore.adapters import base_of, load_adapter
    from ifcore.row_files import read_rows
    from ifcore.rows import by_id
    from ifcore.tokens import Loss

    names = ("loss_on", "reduction", "max_length", "truncation_side", "chat_template", "date")
    loss = Loss(**{name: getattr(arguments, name) for name in names})
    rows = {part: by_id(read_rows(getattr(arguments, part)), part) for part in ("train", "val")}
    try:
        source = arguments.model or base_of(arguments.adapter)
        model, tokenizer = load_adapter(arguments.adapter, source, getattr(torch, arguments.dtype))
    except ValueError as error:
        of_base = str(error).startswith("model:")
        raise ValueError(str(error) if of_base else f"--adapter {arguments.adapter}: {error}") from error
    return loss, rows, source, model, tokenizer


def _settings(arguments: argparse.Namespace, options: dict[str, Any], model: str, tokenizer: Any) -> dict[str, Any]:
    """What determines the tables: options, and the content of all that is read."""
    files = {part: _digest(getattr(arguments, part)) for part in ("train", "val", "adapter")}
    if arguments.checkpoints:
        folders = [arguments.checkpoints, *sorted(arguments.checkpoints.glob("*-*/"))]
        files[run_folder.CHECKPOINTS] = " ".join(map(_digest, folders))
    return {**options, "dtype": arguments.dtype, "model": model, **files, **_template(options, tokenizer)}


def _template(loss: dict[str, Any], tokenizer: Any) -> dict[str, str]:
    """The chat template itself: its file may change."""
    from ifcore.chat_templates import ChatTemplate

    return {"template": str(ChatTemplate(tokenizer, loss["chat_template"]).source)}


def _digest(path: Path) -> str:
    """The content of a file, or of what a folder has of an adapter."""
    suffixes = (".json", ".safetensors", ".jinja", ".model", ".txt", ".arrow")
    files = sorted(file for file in path.iterdir() if file.suffix in suffixes) if path.is_dir() else [path]
    content = [f"{file.name} {io.sha256(file)}" for file in files if file.name != run_folder.RECORD]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
