"""The explorer as an ipywidget: the same choices as on the page, answered by Python."""

from collections.abc import Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from scipy.stats import rankdata

from study.report.explorer_data import GROUPS, NOT_A_NUMBER, Ranking, Task, Text, shorten

NO_CLASS = "no class"
TITLE = 80  # characters of a prompt in a dropdown
TOPS = (3, 5, 10, 20)


def widget(tasks: Sequence[Task], top: int) -> widgets.VBox:
    """Choices of task, validation example, class, words and training example, above the panel that shows them."""
    task = widgets.Dropdown(options=[(task.title, i) for i, task in enumerate(tasks)], description="Task")
    val, label, train = (widgets.Dropdown(description=words) for words in ("Example", "Class", "Selected"))
    search = widgets.Text(description="Search", placeholder="words of a prompt or response")
    tops = widgets.Dropdown(options=sorted({top, *TOPS}), value=top, description="Top")
    auto = {"width": "auto"}
    previous, following = (widgets.Button(description=words, layout=auto) for words in ("Previous", "Next"))
    panel = widgets.HTML()
    choices = (task, val, label, search, tops, train)

    def update(change: dict[str, Any]) -> None:
        chosen = tasks[task.value]
        for choice in choices:
            choice.unobserve(update, "value")  # so that setting options starts no further update
        if change["owner"] is task:
            _set_task_options(chosen, val, label)
        matches = _matches(chosen, label.value, search.value)
        before = train.value
        train.options = [(f"{i + 1}: {shorten(chosen.train[i].prompt, TITLE)}", i) for i in matches]
        train.value = before if before in matches else next(iter(matches), None)
        panel.value = _panel(chosen, val.value, matches, train.value, tops.value)
        for choice in choices:
            choice.observe(update, "value")

    def step(by: int) -> None:
        val.value = (val.value + by) % len(tasks[task.value].val)

    for choice in choices:
        choice.observe(update, "value")
    previous.on_click(lambda _: step(-1))
    following.on_click(lambda _: step(1))
    update({"owner": task})
    rows = [[task, val, previous, following], [label, search, tops, train]]
    return widgets.VBox([*(widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in rows), panel])


def _set_task_options(task: Task, val: widgets.Dropdown, label: widgets.Dropdown) -> None:
    titles = (shorten(text.prompt, TITLE) for text in task.val)
    numbered = enumerate(zip(task.numbers, titles, strict=True))
    val.options = [(f"{number} of {task.total}: {title}", i) for i, (number, title) in numbered]
    labels = {text.label for text in task.train}
    classes = ((name or NO_CLASS, i) for i, name in enumerate(task.classes) if name in labels)
    label.options = [("All classes", -1), *classes]
    val.value, label.value = 0, -1


def _matches(task: Task, label: int, search: str) -> list[int]:
    """The training examples, by class, that are of class number `label` (-1: of any) and contain `search`."""
    words, classes = search.lower(), task.classes
    labels = [classes.index(text.label) for text in task.train]
    contained = [any(words in text.lower() for text in texts) for _, *texts in task.train]
    matches = [i for i, match in enumerate(contained) if match and label in (-1, labels[i])]
    return sorted(matches, key=lambda i: labels[i])


def _panel(task: Task, val: int, matches: list[int], selected: int | None, top: int) -> str:
    style = Path(__file__).with_name("explorer.css").read_text(encoding="utf-8")
    cards = _card(f"Validation example {task.numbers[val]}", task.val[val])
    if selected is not None:
        cards += _card(f"Selected: training example {selected + 1}", task.train[selected])
    strips, lists = "", ""
    for group, members in groupby(task.rankings, lambda ranking: ranking.group):
        rankings = list(members)
        strips += "<p></p>" + "".join(_strip(task, ranking, val, matches, selected) for ranking in rankings)
        side = "".join(_list(task, ranking, val, matches, selected, top) for ranking in rankings)
        lists += f'<p class="explorer-group">{GROUPS[group]}</p><div class="explorer-side">{side}</div>'
    count = f"{len(matches)} of {len(task.train)} training examples" if matches else "No training example matches"
    return (
        f'<style>{style}</style><div class="explorer"><div class="explorer-cards">{cards}</div>'
        f"<p>{count}</p>{strips}{lists}</div>"
    )


def _card(title: str, text: Text) -> str:
    return (
        f'<div class="explorer-card"><p><b>{title}, {escape(text.label or NO_CLASS)}</b></p>'
        f"<p>{escape(text.prompt)}</p><p>→ {escape(text.response)}</p></div>"
    )


def _list(task: Task, ranking: Ranking, val: int, matches: list[int], selected: int | None, top: int) -> str:
    """A method's highest-ranked examples, and the rank of the selected one."""
    ranks, items = ranking.ranks[val], ""
    for i in sorted(matches, key=lambda i: (ranks[i], i))[:top]:
        text, side = task.train[i], ""
        title = f"{ranks[i]}. {text.label or NO_CLASS}"
        if len(task.classes) > 1:
            side = "right" if text.label == task.val[val].label else "wrong"
            title += f", class {side}"
        items += (
            f'<li><div class="{side}" aria-current="{str(i == selected).lower()}">'
            f"<b>{escape(f'{title}, {_score(ranking, val, i)}')}</b>"
            f"<span>{escape(text.prompt)} → {escape(text.response)}</span></div></li>"
        )
    if selected is not None:
        tied = " (tied)" if (ranks == ranks[selected]).sum() > 1 else ""
        place = f"rank {ranks[selected]} of {len(ranks)}{tied}, {_score(ranking, val, selected)}"
        items += f'<li class="explorer-places">Selected: {place}</li>'
    return f'<div class="explorer-list"><p>{_method_name(ranking)}</p><ol>{items}</ol></div>'


def _strip(task: Task, ranking: Ranking, val: int, matches: list[int], selected: int | None) -> str:
    """A row of the heat map: the examples that match the filters, darker the more of all examples each outranks."""
    ranks = rankdata(ranking.ranks[val])
    shares = 1 - (ranks - 1) / max(1, len(ranks) - 1)
    width = 100 / max(1, len(matches))
    stops = []
    for place, i in enumerate(matches):
        if place and task.train[i].label != task.train[matches[place - 1]].label:  # a line between classes
            stops.append(f"#000 0 {place * width + 0.4:.2f}%")
        stops.append(f"{_shade(shares[i])} 0 {(place + 1) * width:.2f}%")
    mark = ""
    if selected in matches:
        left = f"left: {matches.index(selected) * width:.2f}%; width: {width:.2f}%"
        mark = f'<div class="explorer-column selected" style="{left}"></div>'
    style = f"background: linear-gradient(90deg, {', '.join(stops)})" if stops else ""
    words = f"{ranking.name}: every training example, darker outranks more of the others"
    return (
        f'<div class="explorer-strip"><div>{_method_name(ranking)}</div>'
        f'<div role="img" aria-label="{escape(words)}" style="{style}">{mark}</div></div>'
    )


def _score(ranking: Ranking, val: int, train: int) -> str:
    percent = ranking.scores[val, train]
    return "score " + ("no number" if percent == NOT_A_NUMBER else f"{percent}\N{NO-BREAK SPACE}%".replace("-", "−"))


def _method_name(ranking: Ranking) -> str:
    return f'<i class="explorer-dot" style="background: {ranking.colour}"></i>{escape(ranking.name)}'


def _shade(share: float) -> str:
    """From white to the heat map's dark red."""
    ends = ((255, 103), (245, 0), (240, 13))
    return "#" + "".join(f"{round(light + share * (dark - light)):02x}" for light, dark in ends)
