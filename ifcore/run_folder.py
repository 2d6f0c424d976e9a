"""What the command leaves: tables, what determined them, and a summary; never two runs in one folder."""

import csv
import importlib.metadata
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from ifcore import io, sanitize
from ifcore.baselines import texts_of
from ifcore.examples import Row
from ifcore.methods import METHODS

RECORD, GRADIENTS, KEEP_MARK = "run.json", "ifcore-gradients", "kept"
CHECKPOINTS = "checkpoints"  # a setting that only some methods have, which may come later or be left out
TABLES = (".csv", ".parquet")
PACKAGES = ("ifcore", "torch", "transformers", "peft", "tokenizers", "safetensors")
QUERIES, LONGEST = 10, 60  # responses that the summary shows, characters of a text in it


def open_folder(out: Path, settings: Mapping[str, Any], replace: bool) -> None:
    """Make the folder one of a run with these settings, or go on with that run.

    With `replace`, what another run left goes. Raises ValueError where it holds another one, or tables of which nobody
    knows the run.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out}: a file; name a folder")
    settings = {**settings, "versions": {name: _version(name) for name in PACKAGES}}
    before, record = io.read_json(out / RECORD), out / RECORD
    for one, other in ((before, settings), (settings, before)):
        if one and CHECKPOINTS in other:
            one.setdefault(CHECKPOINTS, other[CHECKPOINTS])
    if before == settings:
        io.write_json(record, settings)
    else:
        names = [GRADIENTS, *(f"{method}{suffix}" for method in METHODS for suffix in TABLES)]
        left = [out / name for name in names if (out / name).exists()]
        is_foreign = before and "versions" not in before
        if (left or is_foreign) and not replace:
            raise ValueError(f"--out {out}: it holds {_difference(before, settings)}; name another, or add --replace")
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        io.write_json(record, settings)


def close_folder(out: Path, keep: bool) -> None:
    """Remove the gradients, unless this run or one before wants them kept."""
    if keep:
        io.write_text(out / GRADIENTS / KEEP_MARK, "")
    elif not (out / GRADIENTS / KEEP_MARK).exists():
        shutil.rmtree(out / GRADIENTS, ignore_errors=True)


def write_table(path: Path, frame: pd.DataFrame) -> None:
    """Scores of a method as Parquet, or as CSV in which a spreadsheet computes nothing."""
    if path.suffix == ".parquet":
        io.write(path, frame.rename(index=str, columns=str).to_parquet)
        return
    returns = any("\r" in str(name) for name in (*frame.index, *frame.columns))  # which minimal quoting forgets
    quoting = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL
    io.write(path, partial(frame.rename(index=sanitize.cell, columns=sanitize.cell).to_csv, quoting=quoting))


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """Method -> the scores that a run left in a folder; ValueError where it has none."""
    files = {path.stem: path for suffix in TABLES for path in sorted(folder.glob(f"*{suffix}"))}
    frames = {name: _read_table(path) for name, path in files.items() if name in METHODS}
    if not frames:
        raise ValueError(f"--scores {folder}: no table of a method in it; name the folder that attribute wrote to")
    return frames


def _read_table(path: Path) -> pd.DataFrame:
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    frame = pd.read_csv(path, index_col=0, keep_default_na=False, dtype={0: str})
    return frame.rename(index=sanitize.uncell, columns=sanitize.uncell)


def summary(
    scores: Mapping[str, pd.DataFrame], rows: Mapping[str, Mapping[Any, Row]], tokenizer: Any, top: int, out: Path
) -> str:
    """The most influential training examples of each response, a line a method, then what they say."""
    first = next(iter(scores.values()))
    width = max(map(len, scores))
    lines = []
    for query in first.index[:QUERIES]:
        lines.append(f"val {sanitize.printable(query)}: {text(rows['val'][query], tokenizer)}")
        named: dict[Any, None] = {}
        for method, frame in scores.items():
            best = frame.loc[query].nlargest(top)
            named |= dict.fromkeys(best.index)
            examples = (f"{sanitize.printable(name)} ({value:.3g})" for name, value in best.items())
            lines.append(f"  {method:{width}}  " + "  ".join(examples))
        lines += [f"    {sanitize.printable(name)}: {text(rows['train'][name], tokenizer)}" for name in named]
    if len(first) > QUERIES:
        lines.append(f"… and {len(first) - QUERIES} more")
    lines.append(f"{out}/: {', '.join(scores)} (rows val, columns train; higher = more influential)")
    return "\n".join(lines)


def text(row: Row, tokenizer: Any) -> str:
    """What an example says: its prompt's and its answer's beginning."""
    lines = map(sanitize.printable, texts_of(row.example, tokenizer))
    short = (line if len(line) <= LONGEST else f"{line[: LONGEST - 2]} …" for line in lines)
    return " → ".join(filter(None, short))


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _difference(before: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """By what another run differs."""
    if not before:
        return f"tables without {RECORD}, of a run that nobody knows"
    names = [name for name in settings if before.get(name) != settings[name]]
    values = [f"{name} {str(before.get(name))[:40]}, now {str(settings[name])[:40]}" for name in names[:3]]
    return f"another run ({'; '.join(values) or 'of another version'})"
