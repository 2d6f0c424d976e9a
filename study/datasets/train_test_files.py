"""Data sets in the format of the paper's released code: rows of prompts, response, variation, in train and test.

A source is a folder that holds `train` and `test`: folders as `datasets.save_to_disk` leaves them, or files with one
of the extensions .jsonl, .csv, .parquet. The variation is the class. Rows are used in the file's order, the same for
every seed, and stripped of white space. A file may repeat a prompt, as the released MathQA does. Every error is a
ValueError of one line: file, row, column, what is wrong, what to do.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from ifcore.examples import Example
from study.datasets import table_files
from study.datasets.family import Counts
from study.datasets.file_errors import file_error, join_names

COLUMNS = ("prompts", "response", "variation")
_JOINERS = "\u200c\u200d"  # not printable, but part of how some languages are written


def classes(source: str, fixed: Sequence[str] = ()) -> tuple[str, ...]:
    """The classes of a source, in the order of their first rows. ValueError if one of the `fixed` is missing."""
    train, test = _read(source)
    labels = tuple(dict.fromkeys(example.label for example in train + test))
    if missing := [label for label in fixed if label not in labels]:
        wrong = f"no class {join_names(missing)} in the column variation (found {join_names(labels)})"
        raise file_error(source, wrong, f"the classes {join_names(fixed)} must be called that")
    return labels


def load(source: str, parts: Sequence[Counts]) -> list[list[Example]]:
    """The examples of train, val and dev, whose counts are `parts`, in blocks of one class.

    train and val have the first rows of each class of the source's train and test; dev has the next rows of its train,
    without prompts that train has. ValueError, naming the file and the class, if there are too few.
    """
    remaining, test = _read(source)
    train, remaining = _take(source, "train", remaining, parts[0], "train")
    val, _ = _take(source, "test", test, parts[1], "val")
    prompts = {example.prompt for example in train}
    unseen = [example for example in remaining if example.prompt not in prompts]
    dev, _ = _take(source, "train", unseen, parts[2], "dev")
    return [train, val, dev]


def _take(
    source: str, half: str, examples: list[Example], counts: Counts, part: str
) -> tuple[list[Example], list[Example]]:
    """The first examples of each class, class by class, and the others."""
    taken: list[int] = []
    for label, count in counts.items():
        places = list(islice((i for i, example in enumerate(examples) if example.label == label), count))
        if len(places) < count:
            available = f"{len(places)} are {'left' if part == 'dev' else 'there'}"
            wrong = f"{count} {part} examples of class {label!r} asked, {available}"
            raise file_error(f"{source}, {half}", wrong, "ask for fewer, class by class if need be")
        taken += places
    others = set(range(len(examples))).difference(taken)
    return [examples[i] for i in taken], [examples[i] for i in sorted(others)]


def _read(source: str) -> tuple[list[Example], list[Example]]:
    """All examples of train and of test. ValueError for a prompt in both, or a class name that can't be shown."""
    paths = [_find(source, half) for half in ("train", "test")]
    train, test = ([Example(*row) for row in table_files.read(path, COLUMNS)] for path in paths)
    for path, examples in zip(paths, (train, test), strict=True):
        _check_labels(path, examples)
    rows = {example.prompt: number for number, example in reversed([*enumerate(train, 1)])}
    for number, example in enumerate(test, 1):
        if example.prompt in rows:
            wrong = f"the same prompt as row {rows[example.prompt]} of {paths[0].name}"
            raise file_error(f"{paths[1]}, row {number}, column {COLUMNS[0]}", wrong, "delete it from one of them")
    return train, test


def _check_labels(path: Path, examples: Sequence[Example]) -> None:
    """Class names are printed beside numbers, on pages and in a terminal, whose display they must not control."""
    for number, example in enumerate(examples, 1):
        if odd := next((char for char in example.label if not char.isprintable() and char not in _JOINERS), None):
            place = f"{path}, row {number}, column {COLUMNS[2]}"
            raise file_error(place, f"a class name with {ascii(odd)}, which controls how others are shown", "remove it")


def _find(source: str, half: str) -> Path:
    """The file or folder of one half of a source."""
    folder = Path(source)
    if not folder.is_dir():
        remedy = f"give one that holds {_names('train')}, and the same of test"
        raise file_error(source, "not a folder on this machine", remedy)
    paths = [path for suffix in table_files.FORMATS if (path := folder / f"{half}{suffix}").is_file()]
    paths += [path for path in [folder / half] if path.is_dir()]
    if not paths:
        contents = join_names(sorted(path.name for path in folder.iterdir()))
        raise file_error(source, f"no {half} (found {contents})", f"it must hold {_names(half)}")
    if len(paths) > 1:
        wrong = f"{half} is there more than once ({join_names(path.name for path in paths)})"
        raise file_error(source, wrong, "leave one")
    return paths[0]


def _names(half: str) -> str:
    return " or ".join([f"the folder {half}", *(f"{half}{suffix}" for suffix in table_files.FORMATS)])
