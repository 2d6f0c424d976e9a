"""The explorer as an ipywidget, for a notebook with a kernel: the same choices, answered by Python."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path

import ipywidgets as widgets
import numpy as np
from scipy.stats import rankdata

from study.report.colours import COLOURS
from study.report.explorer_data import GROUPS, NONE, Task, Text, cut, group
from study.report.names import NAMES

TITLE = 80  # characters of a prompt in a choice
TOPS = (3, 5, 10, 20)


def widget(tasks: Sequence[Task], top: int) -> widgets.VBox:
    """Choices of task, validation example, class, words, and training example, above the panel that they change."""
    task = widgets.Dropdown(options=[(each.title, i) for i, each in enumerate(tasks)], description="Task")
    val = widgets.Dropdown(description="Example")
    previous, following = (
        widgets.Button(description=words, layout={"width": "auto"}) for words in ("Previous", "Next")
    )
    label = widgets.Dropdown(description="Class")
    search = widgets.Text(description="Search", placeholder="words of a prompt or response")
    tops = widgets.Dropdown(options=sorted({top, *TOPS}), value=top, description="Top")
    train = widgets.Dropdown(description="Selected")
    panel = widgets.HTML()
    filling = [False]

    def fill(_=None) -> None:
        chosen = tasks[task.value]
        filling[0] = True  # what the choices set themselves is no choice
        val.options = [
            (f"{number} of {chosen.of}: {cut(text.prompt, TITLE)}", i)
            for i, (number, text) in enumerate(zip(chosen.numbers, chosen.val, strict=True))
        ]
        labels = {text.label for text in chosen.train}
        label.options = [
            ("All classes", -1),
            *((_named(each), i) for i, each in enumerate(chosen.classes) if each in labels),
        ]
        val.value, label.value = 0, -1
        filling[0] = False
        narrow()

    def narrow(_=None) -> None:
        if filling[0]:
            return
        chosen, before = tasks[task.value], train.value
        places = matching(chosen, label.value, search.value)
        filling[0] = True
        train.options = [(f"{i + 1}: {cut(chosen.train[i].prompt, TITLE)}", i) for i in places]
        train.value = before if before in places else next(iter(places), None)
        filling[0] = False
        show()

    def show(_=None) -> None:
        if not filling[0]:
            places = matching(tasks[task.value], label.value, search.value)
            panel.value = _panel(tasks[task.value], val.value, places, train.value, tops.value)

    def step(by: int) -> None:
        val.value = (val.value + by) % len(tasks[task.value].val)

    task.observe(fill, "value")
    for each in (label, search):
        each.observe(narrow, "value")
    for each in (val, train, tops):
        each.observe(show, "value")
    previous.on_click(lambda _: step(-1))
    following.on_click(lambda _: step(1))
    fill()
    rows = [[task, val, previous, following], [label, search, tops, train]]
    return widgets.VBox([*(widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows), panel])


def matching(task: Task, label: int, search: str) -> list[int]:
    """The training examples of a class, given by its place (-1: of all), that have some words; by class."""
    words, wanted = search.lower(), set(task.classes if label < 0 else [task.classes[label]])
    return [
        i
        for i in task.order
        if task.train[i].label in wanted
        and any(words in text.lower() for text in (task.train[i].prompt, task.train[i].response))
    ]


def _panel(task: Task, val: int, places: list[int], chosen: int | None, top: int) -> str:
    """All that is shown of a validation example; `places`: the training examples that the filters leave."""
    style = Path(__file__).with_name("explorer.css").read_text(encoding="utf-8")
    cards = [_card(f"Validation example {task.numbers[val]}", task.val[val])]
    if chosen is not None:
        cards.append(_card(f"Selected: training example {chosen + 1}", task.train[chosen]))
    strips, lists = "", ""
    for each, methods in groupby(task.ranks, group):
        names = list(methods)
        strips += "<p></p>" + "".join(_strip(task, method, val, places, chosen) for method in names)
        side = "".join(_list(task, method, val, places, chosen, top) for method in names)
        lists += f'<p class="explorer-group">{GROUPS[each]}</p><div class="explorer-side">{side}</div>'
    count = f"{len(places)} of {len(task.train)} training examples" if places else "No training example matches"
    return (
        f'<style>{style}</style><div class="explorer"><div class="explorer-cards">{"".join(cards)}</div>'
        f"<p>{count}</p>{strips}{lists}</div>"
    )


def _card(title: str, text: Text) -> str:
    return (
        f'<div class="explorer-card"><p><b>{title}, {escape(_named(text.label))}</b></p>'
        f"<p>{escape(text.prompt)}</p><p>→ {escape(text.response)}</p></div>"
    )


def _list(task: Task, method: str, val: int, places: list[int], chosen: int | None, top: int) -> str:
    """The highest-ranked of a method, and the place of the selected one."""
    ranks = task.ranks[method][val]
    items = []
    for i in sorted(places, key=lambda i: (ranks[i], i))[:top]:
        text, right = task.train[i], "right" if task.train[i].label == task.val[val].label else "wrong"
        judged = len(task.classes) > 1
        title = f"{ranks[i]}. {_named(text.label)}{f', class {right}' * judged}, {_score(task, method, val, i)}"
        items.append(
            f'<li><div class="{right if judged else ""}" aria-current="{str(i == chosen).lower()}">'
            f"<b>{escape(title)}</b><span>{escape(text.prompt)} → {escape(text.response)}</span></div></li>"
        )
    if chosen is not None:
        tied = " (tied)" * bool((ranks == ranks[chosen]).sum() > 1)
        place = f"rank {ranks[chosen]} of {len(ranks)}{tied}, {_score(task, method, val, chosen)}"
        items.append(f'<li class="explorer-places">Selected: {place}</li>')
    return f'<div class="explorer-list"><p>{_called(method)}</p><ol>{"".join(items)}</ol></div>'


def _strip(task: Task, method: str, val: int, places: list[int], chosen: int | None) -> str:
    """A row of the heat map: every training example that the filters leave, darker where it outranks more of all."""
    ranks = rankdata(task.ranks[method][val])
    shares = 1 - (ranks - 1) / max(1, len(ranks) - 1)
    width = 100 / max(1, len(places))
    stops = [f"{_shade(shares[i])} 0 {(place + 1) * width:.2f}%" for place, i in enumerate(places)]
    labels = [task.train[i].label for i in places]
    for place in range(len(places) - 1, 0, -1):
        if labels[place] != labels[place - 1]:
            stops.insert(place, f"#000 0 {place * width + 0.4:.2f}%")
    mark = ""
    if chosen in places:
        left = f"left: {places.index(chosen) * width:.2f}%; width: {width:.2f}%"
        mark = f'<div class="explorer-column selected" style="{left}"></div>'
    style = f"background: linear-gradient(90deg, {', '.join(stops)})" if stops else ""
    words = f"{NAMES.get(method, method)}: every training example, darker outranks more of the others"
    return (
        f'<div class="explorer-strip"><div>{_called(method)}</div>'
        f'<div role="img" aria-label="{escape(words)}" style="{style}">{mark}</div></div>'
    )


def _score(task: Task, method: str, val: int, train: int) -> str:
    percent = task.percents[method][val][train]
    return "score " + ("no number" if percent == NONE else f"{percent}\N{NO-BREAK SPACE}%".replace("-", "−"))


def _called(method: str) -> str:
    colour = COLOURS.get(method, COLOURS["tfidf"])
    return f'<i class="explorer-dot" style="background: {colour}"></i>{escape(NAMES.get(method, method))}'


def _named(label: str) -> str:
    return label or "no class"


def _shade(share: float) -> str:
    """From white to the heat map's dark red."""
    ends = np.array([[255, 103], [245, 0], [240, 13]])
    return "#" + "".join(f"{round(light + share * (dark - light)):02x}" for light, dark in ends)
