"""The interactive view of influence: choose a task and a validation example, see what each method ranks highest."""

from __future__ import annotations

import html
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import ipywidgets as widgets
import numpy as np
from scipy.stats import rankdata

from ifcore.examples import Example
from ifcore.study.show.colours import COLOURS
from ifcore.study.show.names import DATASETS, NAMES

LONGEST = 300  # characters of a prompt or response that are shown


class Explained(Protocol):
    """Examples and what explains them: method -> scores [M, N]; a `runs.artifact.Attribution` is one."""

    train: list[Example]
    val: list[Example]
    scores: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Explorer:
    """Panels of HTML by task and validation example.

    Shown as it is, it is HTML with a few lines of script: it answers clicks in JupyterLab and on the built page, with
    no kernel and no network. `widget()` is the same as an ipywidget. All text from the data is escaped.
    """

    panels: dict[str, dict[str, str]]  # task -> what the choice of an example reads -> panel

    def _repr_html_(self) -> str:
        name = f"explorer-{uuid.uuid5(uuid.NAMESPACE_OID, str(self.panels)).hex[:8]}"
        tasks = "".join(f'<option value="{i}">{html.escape(task)}</option>' for i, task in enumerate(self.panels))
        choices = "".join(
            f'<select class="explorer-example" data-task="{i}" aria-label="Example"{"" if i == 0 else _HIDDEN}>'
            + "".join(f'<option value="{i}-{j}">{html.escape(title)}</option>' for j, title in enumerate(examples))
            + "</select>"
            for i, examples in enumerate(self.panels.values())
        )
        bodies = "".join(
            f'<div class="explorer-panel" data-panel="{i}-{j}"{"" if i == j == 0 else _HIDDEN}>{panel}</div>'
            for i, examples in enumerate(self.panels.values())
            for j, panel in enumerate(examples.values())
        )
        return (
            f'<div class="explorer" id="{name}">{_STYLE}<p><label>Task <select class="explorer-task" '
            f'aria-label="Task">{tasks}</select></label> <label>Validation example {choices}</label></p>{bodies}</div>'
            f"<script>{_SCRIPT.replace('NAME', name)}</script>"
        )

    def widget(self) -> widgets.Widget:
        """The same view as an ipywidget, for a notebook with a kernel."""
        stacks = []
        for examples in self.panels.values():
            choice = widgets.Dropdown(options=list(examples), description="Example", layout={"width": "95%"})
            stack = widgets.Stack([widgets.HTML(_STYLE + panel) for panel in examples.values()], selected_index=0)
            widgets.jslink((choice, "index"), (stack, "selected_index"))
            stacks.append(widgets.VBox([choice, stack]))
        task = widgets.Dropdown(options=list(self.panels), description="Task")
        shown = widgets.Stack(stacks, selected_index=0)
        widgets.jslink((task, "index"), (shown, "selected_index"))
        return widgets.VBox([task, shown])


def explore(tasks: Mapping[str, Explained], top: int = 3, examples: int = 10) -> Explorer:
    """The `top` training examples of each method, for up to `examples` validation examples of each task.

    A task goes by its data set, or by any other name.
    """
    panels: dict[str, dict[str, str]] = {}
    for name, found in tasks.items():
        shown = np.unique(np.linspace(0, len(found.val) - 1, min(examples, len(found.val))).round().astype(int))
        panels[DATASETS.get(name, name)] = {
            f"{i + 1}. {_short(_asked(found.val[i]), 90)}": _panel(found, int(i), top) for i in shown
        }
    return Explorer(panels)


def _panel(found: Explained, row: int, top: int) -> str:
    """One validation example, a strip of influence and the highest-ranked training examples of each method."""
    example = found.val[row]
    head = f"<p><b>{html.escape(example.label)}</b></p>{_text(example)}"
    methods = "".join(_method(method, scores[row], found, example, top) for method, scores in found.scores.items())
    return f'<div class="explorer-card">{head}</div><div class="explorer-methods">{methods}</div>'


def _method(method: str, scores: np.ndarray, found: Explained, example: Example, top: int) -> str:
    order = np.argsort(-scores, kind="stable")[:top]
    scale = np.abs(scores).max() or 1.0
    rows = "".join(
        f'<div class="explorer-row {"right" if found.train[i].label == example.label else "wrong"}">'
        f"<p>{place}. {html.escape(found.train[i].label)}, class "
        f"{'right' if found.train[i].label == example.label else 'wrong'}, score {scores[i] / scale:.2f}</p>"
        f"{_text(found.train[i])}</div>"
        for place, i in enumerate(order, 1)
    )
    title = f'<p><b style="color: {COLOURS[method]}">{NAMES[method]}</b></p>'
    return f'<div class="explorer-method">{title}{_strip(scores, found.train)}{rows}</div>'


def _strip(scores: np.ndarray, train: list[Example]) -> str:
    """A heat map of one row: every training example, darker where it outranks more of the others."""
    shades = (rankdata(scores) - 1) / max(1, len(scores) - 1)
    width = 100 / len(train)
    cells = [f"{_shade(shade)} 0 {(i + 1) * width:.2f}%" for i, shade in enumerate(shades)]
    for i in range(len(train) - 1, 0, -1):
        if train[i].label != train[i - 1].label:
            cells.insert(i, f"#000 0 {i * width + 0.4:.2f}%")
    label = "influence of every training example, darker is more; black lines separate classes"
    style = f"background: linear-gradient(90deg, {', '.join(cells)})"
    return f'<div class="explorer-strip" role="img" aria-label="{label}" title="{label}" style="{style}"></div>'


def _shade(share: float) -> str:
    """From white to the heat map's dark red."""
    ends = (255, 103), (245, 0), (240, 13)
    return "#" + "".join(f"{round(light + share * (dark - light)):02x}" for light, dark in ends)


def _text(example: Example) -> str:
    return f"<p>{_escaped(_asked(example))}</p><p>→ {_escaped(example.response)}</p>"


def _asked(example: Example) -> str:
    """The prompt; of several turns, who said what."""
    if isinstance(example.prompt, str):
        return example.prompt
    return " · ".join(f"{role}: {content}" for role, content in example.prompt)


def _escaped(text: str) -> str:
    return html.escape(_short(text, LONGEST))


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


_HIDDEN = " hidden"
_STYLE = """<style>
.explorer select { max-width: 100%; }
.explorer-card, .explorer-method { border: 1px solid #ccc; padding: 0.3rem 0.6rem; margin: 0.3rem 0; }
.explorer-methods { display: grid; grid-template-columns: repeat(auto-fit, minmax(14rem, 1fr)); gap: 0.4rem; }
.explorer-panel p, .explorer-card p, .explorer-method p { margin: 0.1rem 0; font-size: 0.82rem; line-height: 1.35; }
.explorer-strip { height: 14px; margin: 0.2rem 0; }
.explorer-row { border-left: 4px solid #999; padding-left: 0.5rem; margin: 0.4rem 0; }
.explorer-row.right { border-color: #0072B2; }
.explorer-row.wrong { border-color: #D55E00; }
</style>"""

_SCRIPT = """
(() => {
  const root = document.getElementById("NAME");
  const task = root.querySelector(".explorer-task");
  const examples = [...root.querySelectorAll(".explorer-example")];
  const show = () => {
    examples.forEach((select) => { select.hidden = select.dataset.task !== task.value; });
    const chosen = examples[Number(task.value)].value;
    root.querySelectorAll(".explorer-panel").forEach((panel) => { panel.hidden = panel.dataset.panel !== chosen; });
  };
  [task, ...examples].forEach((select) => select.addEventListener("change", show));
  show();
})();
"""
