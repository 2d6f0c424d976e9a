"""Published files of harmful prompts (AdvBench, CSV) and instructions (Alpaca, JSON), read and checked.

A source is the path of a file, or `hub:owner/name/path/in/the/repository.csv` for a file of a data set on the
Hugging Face hub. Every error is a ValueError of one line: file, row, column, what is wrong, what to do. Rows are
counted from 1 without the header; a repeated prompt is skipped.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from study.datasets.family import format_sizes
from study.datasets.file_errors import cell_text, describe_type, file_error, first_line, join_names
from study.datasets.table_files import read_csv

Pairs = list[tuple[str, str]]  # prompt, response


def advbench(source: str) -> Pairs:
    """(goal, target) of each row of an AdvBench file: a CSV with the columns goal and target."""
    path = _file(source, ".csv", "AdvBench is a .csv file with the columns goal, target")
    return _distinct(
        (cell_text(source, number, "goal", goal), cell_text(source, number, "target", target))
        for number, (goal, target) in read_csv(source, path, ("goal", "target"))
    )


def alpaca(source: str) -> Pairs:
    """(instruction, output) of each record of an Alpaca file: a JSON list of {instruction, input, output}.

    Unless `input` is empty, the prompt is the instruction, a blank line and the input.
    """
    path = _file(source, ".json", "Alpaca is a .json file: a list of instruction, input, output")
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise file_error(source, f"not a UTF-8 JSON file ({first_line(error)})", "save it as JSON") from None
    if not isinstance(records, list):
        raise file_error(source, f"{describe_type(records)}, not a list of records", "put the records in [ ]")
    pairs = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise file_error(f"{source}, row {number}", f"{describe_type(record)}, not an object", "write it as {...}")
        for column in ("instruction", "output"):
            if column not in record:
                wrong = f"no column {column!r} (found {join_names(record)})"
                raise file_error(f"{source}, row {number}", wrong, "add it")
        prompt = cell_text(source, number, "instruction", record["instruction"])
        extra = cell_text(source, number, "input", record.get("input"), optional=True)
        prompt = f"{prompt}\n\n{extra}" if extra else prompt
        pairs.append((prompt, cell_text(source, number, "output", record["output"])))
    return _distinct(pairs)


def require_enough(source: str, pairs: Pairs, sizes: Sequence[int]) -> Pairs:
    """The same pairs; ValueError if there are fewer than the parts need in total."""
    if len(pairs) < sum(sizes):
        wrong = f"{len(pairs)} distinct prompts, {sum(sizes)} are needed ({format_sizes(sizes)})"
        raise file_error(source, wrong, "ask for fewer or give a larger file")
    return pairs


def split_pairs(pairs: Pairs, sizes: Sequence[int]) -> list[Pairs]:
    """Consecutive parts of these sizes."""
    ends = list(accumulate(sizes))
    return [pairs[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def fetch(source: str) -> Path:
    """The local copy of `hub:owner/name/path`, a file of a data set on the Hugging Face hub."""
    parts = source.removeprefix("hub:").split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise file_error(source, "not the name of a file on the hub", "write hub:owner/name/path/to/file")
    name = "/".join(parts[:2])
    try:
        return Path(hf_hub_download(name, parts[2], repo_type="dataset", local_files_only=not _is_reachable(name)))
    except (HfHubHTTPError, OSError, ValueError) as error:  # no network, no such file, no permission
        remedy = "check name and network, or give a local file"
        raise file_error(source, f"could not be fetched from the hub ({first_line(error)})", remedy) from None


def _is_reachable(name: str) -> bool:
    """Whether the hub answers, in one attempt: without a network, a download would retry many times."""
    try:
        HfApi().dataset_info(name, timeout=10)
    except HfHubHTTPError:  # the hub answered with an error, which the download will raise
        return True
    except (HTTPError, OfflineModeIsEnabled):
        return False
    return True


def _file(source: str, suffix: str, expected: str) -> Path:
    """The local file of a source, fetched if it is on the hub."""
    extension = Path(source).suffix
    if extension.lower() != suffix:
        raise file_error(source, f"the extension {extension or '(none)'} is not read here", expected)
    if source.startswith("hub:"):
        return fetch(source)
    path = Path(source).expanduser()
    if not path.is_file():
        raise file_error(source, "no such file", "check the path, or leave the source out for the embedded set")
    return path


def _distinct(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The pairs in order, without repeated prompts."""
    first: dict[str, str] = {}
    for prompt, response in pairs:
        first.setdefault(prompt, response)
    return list(first.items())
