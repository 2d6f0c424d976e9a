"""The data behind the explorer: shortened texts, and each method's ranks and scores for some validation examples."""

import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata

from ifcore.examples import Example
from study.methods import COLOURS, CONTROLS, FURTHER, LEFT_OUT, NAMES, READINGS
from study.pipeline.attributions import Attribution
from study.report.names import DATASETS

GROUPS = ("Methods", "Further methods", "Baselines, which never see the fine-tuned model")
DIGITS = string.digits + string.ascii_letters + "-_"  # ranks are written in base 64
NOT_A_NUMBER = -101  # the percent of a score that is NaN; it ranks last


class Text(NamedTuple):
    """An example as the explorer shows it."""

    label: str
    prompt: str
    response: str


@dataclass(frozen=True)
class Ranking:
    """How one method ranks the N training examples for m validation examples.

    Rank 1 is the highest, and tied examples share the best of their ranks. Scores are in percent of the row's largest
    absolute score, and NOT_A_NUMBER for NaN.
    """

    name: str
    colour: str
    group: int  # index in GROUPS
    ranks: np.ndarray  # [m, N]
    scores: np.ndarray  # [m, N]


@dataclass(frozen=True)
class Task:
    """One task of the explorer: N training examples, m of `total` validation examples, and the methods' rankings.

    `key` names the task in a link; `numbers` [m] are the positions of `val` in the data, from 1.
    """

    key: str
    title: str
    train: list[Text]
    val: list[Text]
    numbers: list[int]
    total: int
    rankings: list[Ranking]  # in the order of the book's tables

    @property
    def classes(self) -> list[str]:
        """Classes in order of first appearance, those of the training examples first."""
        return list(dict.fromkeys(text.label for text in self.train + self.val))


def build_tasks(attributions: Mapping[str, Attribution], examples: int, longest: int) -> list[Task]:
    """Up to `examples` validation examples of each task, spread over its data; texts cut to `longest` characters."""
    tasks: dict[str, Task] = {}
    for name, attribution in attributions.items():
        key = re.sub(r"\W", "_", name, flags=re.ASCII) or "_"
        while key in tasks:
            key += "_"
        total, scores = len(attribution.val), attribution.scores
        rows = np.unique(np.linspace(0, total - 1, min(examples, total)).round().astype(int))
        methods = [method for method in dict.fromkeys([*NAMES, *scores]) if method in scores]
        rankings = [_ranking(method, np.asarray(scores[method], dtype=float)[rows]) for method in methods]
        tasks[key] = Task(
            key,
            shorten(DATASETS.get(name, name), longest),
            [_text(example, longest) for example in attribution.train],
            [_text(attribution.val[row], longest) for row in rows],
            [int(row) + 1 for row in rows],
            total,
            sorted(rankings, key=lambda ranking: ranking.group),
        )
    return list(tasks.values())


def pack_task(task: Task) -> dict[str, Any]:
    """A task as JSON in the page.

    A row of ranks is a string with the same number of digits for every training example. A row of scores is a string of
    bits, six to a digit, that counts down from 100 percent: 1 is the next training example by rank, 0 one percent less.
    """
    index = {label: i for i, label in enumerate(task.classes)}
    return {
        "key": task.key,
        "title": task.title,
        "classes": task.classes,
        "train": [[index[label], *texts] for label, *texts in task.train],
        "val": [[index[label], *texts] for label, *texts in task.val],
        "numbers": task.numbers,
        "of": task.total,
        "rows": [
            vars(ranking) | {"ranks": _pack_ranks(ranking.ranks), "scores": [*map(_pack_percents, ranking.scores)]}
            for ranking in task.rankings
        ],
    }


def shorten(text: str, longest: int) -> str:
    """Text of at most `longest` characters, all of which a page can hold."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _text(example: Example, longest: int) -> Text:
    prompt = example.prompt
    if not isinstance(prompt, str):
        prompt = " · ".join(f"{role}: {content}" for role, content in prompt)
    return Text(*(shorten(text, longest) for text in (example.label, prompt, example.response)))


def _ranking(method: str, scores: np.ndarray) -> Ranking:
    largest = np.abs(np.where(np.isfinite(scores), scores, 0)).max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        percents = np.clip(100 * scores / np.where(largest > 0, largest, 1), -100, 100)
    return Ranking(
        NAMES.get(method, method),
        COLOURS.get(method, COLOURS["tfidf"]),
        2 if method in CONTROLS else 1 if method in (*FURTHER, *READINGS, LEFT_OUT) else 0,
        rankdata(-np.where(np.isnan(scores), -np.inf, scores), method="min", axis=1).astype(int),
        np.where(np.isnan(percents), NOT_A_NUMBER, percents).round().astype(int),
    )


def _pack_ranks(ranks: np.ndarray) -> list[str]:
    width = 1 + int(np.log2(max(1, ranks.max())) // 6)
    powers = 64 ** np.arange(width)[::-1]
    letters = np.frombuffer(DIGITS.encode(), "S1")
    return [letters[row[:, None] // powers % 64].tobytes().decode() for row in ranks]


def _pack_percents(percents: np.ndarray) -> str:
    bits = "0".join("1" * count for count in np.bincount(100 - percents))
    bits += "0" * (-len(bits) % 6)
    return "".join(DIGITS[int(bits[i : i + 6], 2)] for i in range(0, len(bits), 6))
