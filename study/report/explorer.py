"""The interactive explorer: how each method ranks the training examples for one validation example at a time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets

from study.pipeline.attributions import Attribution
from study.report import explorer_widget
from study.report.explorer_data import DIGITS, GROUPS, Task, build_tasks, pack_task

LARGEST = 2_000_000  # characters of data in a page, so that the page stays under 3 MB


@dataclass(frozen=True, repr=False)
class Explorer:
    """Tasks, and how many of the highest-ranked training examples are shown at first.

    JupyterLab and the built page show it as HTML, filled by a script from JSON, without a kernel or a network. The
    page's address names the selection, `#explorer-TASK-VALIDATION-TRAINING` (`#explorer2-…` for a page's second
    explorer). Text from the data is never read as HTML.
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
        return (
            f'<div class="explorer" data-explorer><style>\n{style}</style>'
            "<noscript>This view needs JavaScript.</noscript>"
            f'<script type="application/json">{self.json()}</script>'
            f"<script>\n{script}\n</script></div>"
        )

    def json(self) -> str:
        """The data as ASCII without the characters that could end a script."""
        tasks = [pack_task(task) for task in self.tasks]
        data = {"digits": DIGITS, "groups": GROUPS, "top": self.top, "tasks": tasks}
        text = json.dumps(data, separators=(",", ":"))
        return text.translate({ord(character): f"\\u{ord(character):04x}" for character in "<>&"})

    def widget(self) -> widgets.Widget:
        """The same view as an ipywidget, for a notebook with a kernel."""
        return explorer_widget.widget(self.tasks, self.top)


def explore(attributions: Mapping[str, Attribution], top: int = 3, examples: int = 10) -> Explorer:
    """How each method ranks the training examples, for up to `examples` validation examples of each task.

    The examples and scores may be those of a data set or anything else with `train`, `val` and `scores`. Texts are cut
    to 300 characters; data larger than LARGEST gets fewer validation examples and shorter texts.
    """
    for part, longest in ((1, 300), (2, 300), (2, 150), (3, 150), (3, 100), (5, 75), (examples, 75)):
        explorer = Explorer(build_tasks(attributions, max(1, examples // part), longest), top)
        if len(explorer.json()) <= LARGEST:
            break
    return explorer
