"""Published files of harmful prompts (AdvBench, CSV) and instructions (Alpaca, JSON), read and checked.

A source is the path of a file, or `hub:owner/name/path/in/the/repository.csv` for a file of a data set on the
Hugging Face hub. Every complaint is a ValueError of one line: file, row, column, what is wrong, what to do.
Rows are counted from 1, the header not included; a prompt that appears again is skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate
from pathlib import Path

from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from study.datasets.family import listed
from study.datasets.mistakes import brief, kind, listing, mistake, text
from study.datasets.rows import comma_separated

Pairs = list[tuple[str, str]]  # prompt, response


def advbench(source: str) -> Pairs:
    """(goal, target) of each row of an AdvBench file: a CSV with the columns goal and target."""
    path = _file(source, ".csv", "AdvBench is a .csv file with the columns goal, target")
    columns = "goal", "target"
    pairs = [
        tuple(text(source, number, *cell) for cell in zip(columns, row, strict=True))
        for number, row in comma_separated(source, path, columns)
    ]
    return _distinct(pairs)


def alpaca(source: str) -> Pairs:
    """(instruction, output) of each record of an Alpaca file: a JSON list of {instruction, input, output}.

    Where `input` is not empty the prompt is the instruction, a blank line and the input.
    """
    path = _file(source, ".json", "Alpaca is a .json file: a list of instruction, input, output")
    try:
        records = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise mistake(source, f"not a UTF-8 JSON file ({brief(error)})", "save it as JSON") from None
    if not isinstance(records, list):
        raise mistake(source, f"{kind(records)}, not a list of records", "put the records in [ ]")
    pairs = []
    for number, record in enumerate(records, 1):
        if not isinstance(record, dict):
            raise mistake(f"{source}, row {number}", f"{kind(record)}, not an object", "write it as {...}")
        for column in ("instruction", "output"):
            if column not in record:
                found = listing(record)
                raise mistake(f"{source}, row {number}", f"no column {column!r} (found {found})", "add it")
        prompt = text(source, number, "instruction", record["instruction"])
        extra = text(source, number, "input", record.get("input"), optional=True)
        prompt = f"{prompt}\n\n{extra}" if extra else prompt
        pairs.append((prompt, text(source, number, "output", record["output"])))
    return _distinct(pairs)


def enough(source: str, pairs: Pairs, sizes: Sequence[int]) -> Pairs:
    """The same pairs; ValueError where there are fewer than the parts need together."""
    if len(pairs) < sum(sizes):
        asked = f"{len(pairs)} distinct prompts, {sum(sizes)} are needed ({listed(sizes)})"
        raise mistake(source, asked, "ask for fewer or give a larger file")
    return pairs


def cut(pairs: Pairs, sizes: Sequence[int]) -> list[Pairs]:
    """The pairs cut into parts of these sizes, in order."""
    ends = list(accumulate(sizes))
    return [pairs[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def fetched(source: str) -> Path:
    """The local copy of `hub:owner/name/path`, a file of a data set on the Hugging Face hub."""
    parts = source.removeprefix("hub:").split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise mistake(source, "not the name of a file on the hub", "write hub:owner/name/path/to/file")
    name = "/".join(parts[:2])
    try:
        return Path(hf_hub_download(name, parts[2], repo_type="dataset", local_files_only=not _is_reachable(name)))
    except (HfHubHTTPError, OSError, ValueError) as error:  # no network, no such file, no permission
        remedy = "check name and network, or give a local file"
        raise mistake(source, f"not had from the hub ({brief(error)})", remedy) from None


def _is_reachable(name: str) -> bool:
    """Whether the hub answers. It is asked once: where there is no network, a download would try again and again."""
    try:
        HfApi().dataset_info(name, timeout=10)
    except HfHubHTTPError:  # the hub's own answer, which the download will give as well
        return True
    except (HTTPError, OfflineModeIsEnabled):
        return False
    return True


def _file(source: str, suffix: str, expected: str) -> Path:
    """The local file of a source, fetched from the hub where it is one of the hub's."""
    found = Path(source).suffix
    if found.lower() != suffix:
        raise mistake(source, f"the extension {found or '(none)'} is not read here", expected)
    if source.startswith("hub:"):
        return fetched(source)
    path = Path(source).expanduser()
    if not path.is_file():
        raise mistake(source, "no such file", "check the path, or leave the source out for the embedded set")
    return path


def _distinct(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """The pairs in order, the first one of each prompt."""
    first: dict[str, str] = {}
    for prompt, response in pairs:
        first.setdefault(prompt, response)
    return list(first.items())
