"""What the explorer holds: texts cut to size, and of each method the ranks and scores for some validation examples."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.stats import rankdata

from ifcore.examples import Example
from study.pipeline.baselines import BASELINES
from study.pipeline.further_methods import FURTHER
from study.report.colours import COLOURS
from study.report.names import DATASETS, NAMES

GROUPS = ("Methods", "Further methods", "Controls, which cannot know of influence")
DIGITS = string.digits + string.ascii_letters + "-_"  # a rank is written in base 64
NONE = -101  # the percent of a score that is no number; it ranks last


class Explained(Protocol):
    """Examples and what explains them: method -> scores [M, N]; a `runs.artifact.Attribution` is one."""

    train: list[Example]
    val: list[Example]
    scores: Mapping[str, np.ndarray]


class Text(NamedTuple):
    """An example as it is shown."""

    label: str
    prompt: str
    response: str


@dataclass(frozen=True)
class Task:
    """What is shown of one task: N training examples, and m of its `of` validation examples.

    `key` names it in a link; `numbers` [m] are the places of `val` in the data, from 1; `ranks` and `percents` are
    method -> [m, N], in the order of the book's tables. A rank of 1 is the highest, and ties share the best of theirs;
    a percent is of the largest score of the row, in size, and NONE where the score is no number.
    """

    key: str
    title: str
    train: list[Text]
    val: list[Text]
    numbers: list[int]
    of: int
    ranks: dict[str, np.ndarray]
    percents: dict[str, np.ndarray]

    @property
    def classes(self) -> list[str]:
        """Those of the training examples, as they first come, and then those that validation examples alone have."""
        return list(dict.fromkeys(text.label for text in self.train + self.val))

    @property
    def order(self) -> list[int]:
        """The training examples by class, each class in the order of the data: the columns of the heat map."""
        place = {label: i for i, label in enumerate(self.classes)}
        return sorted(range(len(self.train)), key=lambda i: place[self.train[i].label])


def explored(tasks: Mapping[str, Explained], examples: int, longest: int) -> list[Task]:
    """Up to `examples` validation examples of each task, spread over its data; texts cut to `longest` characters."""
    made: dict[str, Task] = {}
    for name, found in tasks.items():
        key = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
        while key in made:
            key += "_"
        made[key] = _task(name, key, found, examples, longest)
    return list(made.values())


def group(method: str) -> int:
    """The place in GROUPS of a method of the book or of a reader's own."""
    return 2 if method in BASELINES else 1 if method in FURTHER else 0


def packed(task: Task) -> dict[str, Any]:
    """A task as the page holds it, for JSON.

    A row of ranks is a text with as many digits for each training example. A row of scores is one of bits, six a digit,
    that count down from 100 percent: 1 is the training example that ranks next, 0 a percent less.
    """
    classes = task.classes
    place = {label: i for i, label in enumerate(classes)}
    return {
        "key": task.key,
        "title": task.title,
        "classes": classes,
        "train": [[place[label], *texts] for label, *texts in task.train],
        "val": [[place[label], *texts] for label, *texts in task.val],
        "numbers": task.numbers,
        "of": task.of,
        "rows": [
            {
                "name": NAMES.get(method, method),
                "colour": COLOURS.get(method, COLOURS["tfidf"]),
                "group": group(method),
                "ranks": _digits(ranks),
                "scores": [_bits(row) for row in task.percents[method]],
            }
            for method, ranks in task.ranks.items()
        ],
    }


def cut(text: str, longest: int) -> str:
    """Text of `longest` characters at most, that any page can hold."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _task(name: str, key: str, found: Explained, examples: int, longest: int) -> Task:
    total = len(found.val)
    shown = np.unique(np.linspace(0, total - 1, min(examples, total)).round().astype(int))
    known = [name for name in NAMES if name in found.scores]
    own = [name for name in found.scores if name not in NAMES]
    methods = sorted(known + own, key=group)
    scores = {method: np.asarray(found.scores[method], dtype=float)[shown] for method in methods}
    return Task(
        key,
        cut(DATASETS.get(name, name), longest),
        [_text(example, longest) for example in found.train],
        [_text(found.val[i], longest) for i in shown],
        [int(i) + 1 for i in shown],
        total,
        {method: _ranks(rows) for method, rows in scores.items()},
        {method: _percents(rows) for method, rows in scores.items()},
    )


def _text(example: Example, longest: int) -> Text:
    """The prompt of several turns says who said what."""
    prompt = example.prompt
    if not isinstance(prompt, str):
        prompt = " · ".join(f"{role}: {content}" for role, content in prompt)
    return Text(*(cut(each, longest) for each in (example.label, prompt, example.response)))


def _ranks(scores: np.ndarray) -> np.ndarray:
    return rankdata(-np.where(np.isnan(scores), -np.inf, scores), method="min", axis=1).astype(int)


def _percents(scores: np.ndarray) -> np.ndarray:
    largest = np.abs(np.where(np.isfinite(scores), scores, 0)).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        percents = np.clip(100 * scores / np.where(largest > 0, largest, 1), -100, 100)
    return np.where(np.isnan(percents), NONE, percents).round().astype(int)


def _digits(ranks: np.ndarray) -> Sequence[str]:
    width = 1 + int(np.log2(max(1, ranks.max())) // 6)
    powers = 64 ** np.arange(width)[::-1]
    letters = np.frombuffer(DIGITS.encode(), "S1")
    return [letters[row[:, None] // powers % 64].tobytes().decode() for row in ranks]


def _bits(percents: np.ndarray) -> str:
    bits = "0".join("1" * count for count in np.bincount(100 - percents))
    bits += "0" * (-len(bits) % 6)
    return "".join(DIGITS[int(bits[i : i + 6], 2)] for i in range(0, len(bits), 6))
