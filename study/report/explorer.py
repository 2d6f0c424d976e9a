"""The interactive view of influence: how each method ranks the training examples, a validation example at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets

from study.report import explorer_widget
from study.report.explorer_data import DIGITS, GROUPS, Explained, Task, explored, packed

LARGEST = 2_000_000  # characters of data in a page, which is to stay under 3 MB


@dataclass(frozen=True, repr=False)
class Explorer:
    """Tasks, and how many of the highest-ranked training examples are shown first.

    Shown as it is, it is HTML that a script of plain DOM calls fills from JSON: it answers mouse and keyboard in
    JupyterLab and on the built page, with no kernel and no network. The address of the page names what is selected:
    `#explorer-TASK-VALIDATION-TRAINING`, and `#explorer2-…` for the second view of a page. `widget()` is the same for a
    notebook with a kernel. Text from the data is text in both, whatever it holds.
    """

    tasks: list[Task]
    top: int

    def __repr__(self) -> str:
        return f"Explorer of {', '.join(task.title for task in self.tasks)}"

    def _repr_html_(self) -> str:
        style, *scripts = (
            Path(__file__).with_name(name).read_text(encoding="utf-8")
            for name in ("explorer.css", "explorer_map.js", "explorer.js")
        )
        script = "\n".join(['(() => {\n"use strict";', *scripts, "})();"])
        inside = (
            f"<style>\n{style}</style>",
            "<noscript>This view needs JavaScript.</noscript>",
            f'<script type="application/json">{self.json()}</script>',
            f"<script>\n{script}\n</script>",
        )
        return f'<div class="explorer" data-explorer>{"".join(inside)}</div>'

    def json(self) -> str:
        """The data, in ASCII without a character that could end a script."""
        data = {
            "digits": DIGITS,
            "groups": GROUPS,
            "top": self.top,
            "tasks": [packed(task) for task in self.tasks],
        }
        written = json.dumps(data, separators=(",", ":"))
        return written.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&"})

    def widget(self) -> widgets.Widget:
        """The same view as an ipywidget, for a notebook with a kernel."""
        return explorer_widget.widget(self.tasks, self.top)


def explore(tasks: Mapping[str, Explained], top: int = 3, examples: int = 10) -> Explorer:
    """How each method ranks the training examples, for up to `examples` validation examples of each task.

    A task goes by its data set, or by any other name. Prompts and responses are cut to 300 characters; what would be
    more than LARGEST has fewer validation examples and shorter texts.
    """
    for part, longest in ((1, 300), (2, 300), (2, 150), (3, 150), (3, 100), (5, 75), (examples, 75)):
        explorer = Explorer(explored(tasks, max(1, examples // part), longest), top)
        if len(explorer.json()) <= LARGEST:
            break
    return explorer
