"""The figure of the first page: labels, prediction, removal; the published seeds beside the reader's."""

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ifcore.judge import CEILING
from study.claims.estimates import NoEstimate, Tables, get_table, learnt_rows, over_best, pooled_methods
from study.config import Run
from study.methods import COLOURS, NAMES, ORACLE
from study.report.plot import draw_interval, handle, save, with_style
from study.schema import ITSELF

SHOWN = ("datainf", "lissa", "gradsim", "exact", "repsim")
BASELINES = ("repsim_before", "gradsim_before", "words_response")


@with_style
def answer_figure(run: Run, tables: Tables, published: Tables) -> Figure:
    """Left, coverage minus the best baseline's; in the middle, the linear datamodeling score and its ceiling; right,
    the rise of the loss after removal minus that after one at random of the class.

    Published seeds are filled, the run's hollow; small dots are data sets. A panel says so where there is nothing to
    show. Leaves fig_answer.*.
    """
    names = [*SHOWN, *BASELINES][::-1]
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 3.3), sharey=True)
    sources = [("published", published)] if published else []
    sources += [("your run", tables)] if tables and tables is not published else []
    for axis, (title, label, scale, most, read) in zip(axes, _PANELS, strict=True):
        axis.set_title(title)
        axis.set_xlabel(label)
        axis.axvline(0, color="black", linewidth=0.6)
        axis.axhline(len(BASELINES) - 0.5, color="#CCCCCC", linewidth=0.6)
        drawn = [_draw(axis, names, read, which, kind, (scale, most), len(sources)) for kind, which in sources]
        if not any(drawn):
            axis.text(0.5, 0.5, "nothing to show", transform=axis.transAxes, ha="center", color="#5f6368")
    axes[0].set_yticks(range(len(names)), [NAMES[name] for name in names])
    handles = [handle(kind, **_FACES[kind]) for kind, _ in sources]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return save(run, "fig_answer", figure, ("controls", "lds", "removal"))


_FACES: dict[str, dict[str, Any]] = {"published": {}, "your run": {"mfc": "white"}}
_SHIFTS = {"published": 0.16, "your run": -0.16}


def _draw(
    axis: Axes, names: list[str], read: Callable, tables: Tables, kind: str, units: tuple[float, float], sources: int
) -> bool:
    """Whether there was anything to draw. `units`: what a value is multiplied by, and the most that it can be."""
    scale, most = units
    try:
        frame, ceiling = read(tables)
    except NoEstimate:
        return False
    shift = _SHIFTS[kind] if sources > 1 else 0.0
    for method, mean, parts in pooled_methods(frame):
        if method in names:
            place, colour = names.index(method) + shift, COLOURS[method]
            if len(parts) > 1:
                axis.scatter(scale * np.array(parts), [place] * len(parts), s=4, color=colour, alpha=0.45)
            low, high = np.clip(mean.interval(0.05), -most, most)
            interval = (scale * mean.mean, scale * low, scale * high)
            draw_interval(axis, place, interval, color=colour, zorder=3, **_FACES[kind])
    if ceiling is not None:
        axis.axvline(ceiling, color="black", linewidth=0.8, linestyle="-" if kind == "published" else ":")
    return True


def _labels(tables: Tables) -> tuple[pd.DataFrame, None]:
    frame = learnt_rows(tables, "controls")
    frame = frame[frame.metric == "coverage"]
    return pd.concat([over_best(frame, method) for method in SHOWN]), None


def _prediction(tables: Tables) -> tuple[pd.DataFrame, float]:
    frame = get_table(tables, "lds")
    frame = frame[(frame.metric == "lds") & (frame.against == ITSELF)]
    return frame[frame.method != CEILING], frame[frame.method == CEILING].value.mean()


def _removal(tables: Tables) -> tuple[pd.DataFrame, None]:
    frame = get_table(tables, "removal")
    return frame[(frame.metric == "rise") & (frame.against == ORACLE)], None


_PANELS: tuple[tuple[str, str, float, float, Callable], ...] = (
    ("Finds the right kind", "coverage minus the best\nbaseline's (points)", 100, 1, _labels),
    ("Predicts retraining", "linear datamodeling score\n(line on the right: ceiling)", 1, 1, _prediction),
    ("Knows what matters", "loss rise minus that\nwithout random harmful ones (nats)", 1, inf, _removal),
)
