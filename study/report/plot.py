"""What the figures share: style, bands, intervals in rows, grids of panels, and saving."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ifcore import io
from study.config import Run
from study.methods import COLOURS, NAMES
from study.pipeline.stages import newest
from study.report.alt_text import describe_figure
from study.statistics import Estimate

STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "figure.dpi": 130,
    "svg.hashsalt": "ifcore",  # the same figure is the same file
}
with_style = matplotlib.rc_context(STYLE)  # decorates what draws and saves a figure
DOT: Any = {"marker": "o", "linestyle": "", "markersize": 4, "color": "black"}
Interval = tuple[float, Estimate, dict[str, Any]]  # a place, a value with its ends, and the point's colours


def save(run: Run, name: str, figure: Figure, tables: Sequence[str] = ()) -> Figure:
    """Save `figure` in the run's results as PNG and SVG; return it with its alternative text and its links.

    The book links to the SVG and to the CSVs of `tables`, by default to the one of the figure's name, if there is one,
    and says when what the figure shows was computed.
    """
    for suffix, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        io.write(run.results / f"{name}.{suffix}", partial(figure.savefig, format=suffix, metadata=metadata))
    plt.close(figure)  # the notebook shows what the cell returns, once
    with BytesIO() as picture:
        figure.savefig(picture, format="png", bbox_inches="tight", dpi=figure.dpi, metadata={"Software": None})
        data = {"image/png": b64encode(picture.getvalue()).decode()}
    files = [run.results / f"{table}.csv" for table in tables or [name]] + [run.results / f"{name}.svg"]
    made = [str(file.relative_to(run.root)) for file in files if file.is_file()]
    computed = f"from what was computed on {moment:%d %B %Y, %H:%M} UTC" if (moment := newest()) else ""
    bundle = data, {"image/png": {"alt": describe_figure(figure)}, "made": made, "computed": computed}
    vars(figure)["_repr_mimebundle_"] = lambda **_: bundle  # for Jupyter, which draws figures without the text
    return figure


def band(frame: pd.DataFrame, x: str) -> pd.DataFrame:
    """value, low and high at each x: one seed's interval, or several seeds' mean ± s.d. where all of them have x."""
    if "seed" in frame and frame.seed.nunique() > 1:
        frame = frame[frame.groupby(x).seed.transform("nunique") == frame.seed.nunique()]
        mean, sd = frame.groupby(x).value.mean(), frame.groupby(x).value.std()
        return pd.DataFrame({"value": mean, "low": mean - sd, "high": mean + sd})
    return frame.set_index(x)[["value", "ci_low", "ci_high"]].set_axis(["value", "low", "high"], axis=1).sort_index()


def draw(axis: Axes, line: pd.DataFrame, colour: str, name: str, scale: float = 1, linestyle: str = "-") -> None:
    """A line with its band."""
    axis.plot(line.index, line.value * scale, color=colour, label=name, linestyle=linestyle, marker="o", markersize=2.5)
    axis.fill_between(line.index, line.low * scale, line.high * scale, color=colour, alpha=0.15, linewidth=0)


def draw_interval(axis: Axes, place: float, estimate: Estimate, **style: Any) -> None:
    """A point with its interval along x, at the height `place`; `style` is the point's, a dot by default, and the
    interval's `linewidth`."""
    value, low, high = estimate
    axis.plot([low, high], [place, place], color=style["color"], linewidth=style.pop("linewidth", 1))
    axis.plot(value, place, **DOT | style)


def handle(label: str, **style: Any) -> plt.Line2D:
    """A point for a figure's legend."""
    return plt.Line2D([], [], label=label, **DOT | style)


def forest(
    panels: Mapping[str, Sequence[Interval]],
    rows: Sequence[str],
    label: str,
    *,
    margin: float = 0.7,
    row_height: float = 0.2,
    in_points: bool = False,
    rules: Mapping[float, str] = MappingProxyType({}),
    legend: Mapping[str, dict[str, Any]] = MappingProxyType({}),
) -> tuple[Figure, np.ndarray]:
    """Points with their intervals over `label`, a panel a title; `rows` names the places 0, 1, … from below.

    `in_points`: differences of shares in percentage points, on one axis, which ends at what is possible: with few
    examples, intervals may be longer. `rules`: horizontal lines, place -> colour. `legend`: name -> style of a point.
    """
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figsize = (7.2, margin + row_height * len(rows) * lines)
    figure, axes = plt.subplots(lines, columns, figsize=figsize, sharex=in_points, sharey=True, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, intervals) in zip(axes.flat, panels.items(), strict=False):
        axis.axvline(0, color="black", linewidth=0.6)
        for place, colour in rules.items():
            axis.axhline(place, color=colour, linewidth=0.6)
        for place, estimate, style in intervals:
            value, low, high = (100 * end if in_points else end for end in estimate)
            draw_interval(axis, place, (value, low, high), **style)
        axis.set_title(title)
        axis.set_yticks(range(len(rows)), rows)
    if in_points:
        axes[0, 0].set_xlim(*np.clip(axes[0, 0].get_xlim(), -104, 104))
    figure.supxlabel(label, fontsize=9)
    if legend:
        handles = [handle(name, **style) for name, style in legend.items()]
        figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return figure, axes


def panels(count: int, columns: int, height: float) -> tuple[Figure, np.ndarray]:
    """A grid of at least `count` panels that share both axes; the rest are hidden."""
    columns = min(columns, count)
    rows = -(-count // columns)
    size = (7.2, 0.6 + height * rows)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for axis in axes[-2, count - columns * (rows - 1) :] if rows > 1 else ():
        axis.tick_params(labelbottom=True)
    return figure, axes


def grid(columns: int, rows: int) -> tuple[Figure, np.ndarray]:
    """Panels that share the x axis down a column and the y axis along a row."""
    return plt.subplots(rows, columns, figsize=(7.2, 0.6 + 1.55 * rows), sharex="col", sharey="row", squeeze=False)


def draw_methods(axis: Axes, part: pd.DataFrame, x: str, methods: Sequence[str], scale: float = 1) -> None:
    """The line of each of `methods` that has rows."""
    for method in methods:
        if len(rows := part[part.method == method]):
            draw(axis, band(rows, x), COLOURS[method], NAMES[method], scale)


def draw_losses(axis: Axes, part: pd.DataFrame, x: str) -> None:
    for metric, colour, name in (("train_loss", "#999999", "training loss"), ("dev_loss", "black", "dev loss")):
        draw(axis, band(part[(part.metric == metric) & part.value.notna()], x), colour, name)
