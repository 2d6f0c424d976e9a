"""Data sets in the format of the paper's released code: rows of prompts, response, variation, train and test apart.

A source is a folder that holds `train` and `test`: folders as `datasets.save_to_disk` leaves them, or files with one
of the extensions .jsonl, .csv, .parquet. The variation is the class. Rows are taken in the file's order and so are the
same for every seed; blanks round a text are no part of it. A prompt may be repeated inside a file, as some are in the
released MathQA. Every complaint is a ValueError of one line: file, row, column, what is wrong, what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ifcore.examples import Example
from study.datasets import rows
from study.datasets.family import Counts
from study.datasets.mistakes import listing, mistake

COLUMNS = ("prompts", "response", "variation")
_JOINERS = "\u200c\u200d"  # of letters, and part of how some languages are written


def classes(source: str, fixed: Sequence[str] = ()) -> tuple[str, ...]:
    """The classes of a source, in the order of their first rows. ValueError where one of the `fixed` is not there."""
    train, test = _read(source)
    found = tuple(dict.fromkeys(example.label for example in train + test))
    if missing := [label for label in fixed if label not in found]:
        wrong = f"no class {listing(missing)} in the column variation (found {listing(found)})"
        raise mistake(source, wrong, f"the classes {listing(fixed)} must be called that")
    return found


def load(source: str, parts: Sequence[Counts]) -> list[list[Example]]:
    """The examples of train, val and dev, whose counts are `parts`, in blocks of one class.

    train: of each class the first so many rows of the source's train; val: the same of its test; dev: rows of its train
    after those, with prompts that are not among them. ValueError, naming the file and the class, for too few.
    """
    rest, test = _read(source)
    train, rest = _first(source, "train", rest, parts[0], "train")
    val, _ = _first(source, "test", test, parts[1], "val")
    known = {example.prompt for example in train}
    dev, _ = _first(source, "train", [each for each in rest if each.prompt not in known], parts[2], "dev")
    return [train, val, dev]


def _first(
    source: str, half: str, examples: list[Example], counts: Counts, part: str
) -> tuple[list[Example], list[Example]]:
    """The first examples of each class, class by class, and the others."""
    chosen = []
    for label, count in counts.items():
        found = list(islice((i for i, each in enumerate(examples) if each.label == label), count))
        if len(found) < count:
            left = "are left" if part == "dev" else "are there"
            wrong = f"{count} {part} examples of class {label!r} asked, {len(found)} {left}"
            raise mistake(f"{source}, {half}", wrong, "ask for fewer, class by class if need be")
        chosen += found
    others = set(range(len(examples))).difference(chosen)
    return [examples[i] for i in chosen], [examples[i] for i in sorted(others)]


def _read(source: str) -> tuple[list[Example], list[Example]]:
    """All examples of train and of test. ValueError for a prompt in both, or a class name that can't be shown."""
    paths = [_path(source, half) for half in ("train", "test")]
    train, test = ([Example(*row) for row in rows.read(path, COLUMNS)] for path in paths)
    for path, examples in zip(paths, (train, test), strict=True):
        _check_labels(path, examples)
    place = {example.prompt: number for number, example in reversed([*enumerate(train, 1)])}
    for number, example in enumerate(test, 1):
        if example.prompt in place:
            wrong = f"the same prompt as row {place[example.prompt]} of {paths[0].name}"
            raise mistake(f"{paths[1]}, row {number}, column {COLUMNS[0]}", wrong, "delete it from one of them")
    return train, test


def _check_labels(path: Path, examples: Sequence[Example]) -> None:
    """Classes are names, and stand beside numbers on pages and in a terminal, which must not be turned by them."""
    for number, example in enumerate(examples, 1):
        if odd := next((each for each in example.label if not each.isprintable() and each not in _JOINERS), None):
            place = f"{path}, row {number}, column {COLUMNS[2]}"
            raise mistake(place, f"a class name with {ascii(odd)}, which controls how others are shown", "remove it")


def _path(source: str, half: str) -> Path:
    """Where the half of a source lies."""
    folder = Path(source)
    if not folder.is_dir():
        remedy = f"give one that holds {_names('train')}, and the same of test"
        raise mistake(source, "not a folder on this machine", remedy)
    found = [path for suffix in rows.FORMATS if (path := folder / f"{half}{suffix}").is_file()]
    found += [path for path in [folder / half] if path.is_dir()]
    if not found:
        there = listing(sorted(path.name for path in folder.iterdir()))
        raise mistake(source, f"no {half} (found {there})", f"it must hold {_names(half)}")
    if len(found) > 1:
        raise mistake(source, f"{half} is there more than once ({listing(path.name for path in found)})", "leave one")
    return found[0]


def _names(half: str) -> str:
    """What a half may be called."""
    return " or ".join([f"the folder {half}", *(f"{half}{suffix}" for suffix in rows.FORMATS)])
