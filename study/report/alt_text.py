"""What a figure shows, in words and numbers, for whoever can't see it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from study.report.colours import COLOURS
from study.report.names import NAMES

LONGEST = 1_500  # characters: a screen reader reads all of them


def alt(figure: Figure) -> str:
    """Panel by panel: what it is called, what its axes are, and of each named line, point or bar its numbers.

    A line is told by both ends, a picture by its range. What has no name (intervals, guides) is left out.
    """
    names = {colour: NAMES[method] for method, colour in COLOURS.items()} | dict(_legends(figure))
    panels = [each for axis in figure.axes if axis.get_visible() and (each := _panel(axis, names))]
    if not panels:
        return "A figure without numbers."
    many = f"{len(panels)} panels. " if len(panels) > 1 else ""
    shared = "; ".join(filter(None, (figure.get_supylabel(), figure.get_supxlabel())))
    text = " ".join(f"{many}{shared and f'All over {shared}. '}{' '.join(panels)}".split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + " …"


def _legends(figure: Figure) -> Iterator[tuple[str, str]]:
    """Colour -> name, of what is labelled: a line may be drawn in one panel and named in another."""
    for axis in figure.axes:
        for artist, name in zip(*axis.get_legend_handles_labels(), strict=True):
            if hasattr(artist, "get_color"):
                yield str(artist.get_color()), name


def _panel(axis: Axes, names: dict[str, str]) -> str:
    bars = [bar for container in axis.containers for bar in container if isinstance(bar, Rectangle)]
    if axis.images:
        parts = [_image(np.ma.filled(image.get_array().astype(float), np.nan)) for image in axis.images]
    elif bars:
        parts = [_bars(axis, bars)]
    else:
        parts = [each for line in axis.lines if (each := _line(axis, line, names))]
    parts = parts or [text.get_text() for text in axis.texts if text.get_text()]
    if not parts:
        return ""
    title = axis.get_title() or axis.get_title(loc="left")
    axes = " over ".join(filter(None, (axis.get_ylabel(), axis.get_xlabel())))
    return ": ".join(filter(None, (title, axes, "; ".join(dict.fromkeys(parts))))) + "."


def _line(axis: Axes, line: Line2D, names: dict[str, str]) -> str:
    x, y = (np.asarray(each, float) for each in line.get_data())
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    label = str(line.get_label())
    name = names.get(str(line.get_color()), "") if label.startswith("_") else label
    if not len(x) or line.get_transform() != axis.transData:  # a guide across the panel
        return ""
    if len(x) == 1:  # of a row that is named at the side
        rows = zip(axis.get_yticks(), axis.get_yticklabels(), strict=False)
        row = next((text.get_text() for at, text in rows if abs(at - y[0]) < 0.5 and not _is_number(text)), "")
        told = ", ".join(dict.fromkeys(filter(None, (row, name))))
        return f"{told} {_number(x[0])}" if row else ""
    if not name or label.startswith("_") and len(there) == 2:  # an interval
        return ""
    return f"{name} from {_number(y[0])} at {_number(x[0])} to {_number(y[-1])} at {_number(x[-1])}"


def _bars(axis: Axes, bars: list[Rectangle]) -> str:
    lying = len({round(bar.get_height(), 9) for bar in bars}) == 1
    ticks = axis.get_yticklabels() if lying else axis.get_xticklabels()
    values = [bar.get_width() if lying else bar.get_height() for bar in bars]
    return ", ".join(f"{text.get_text()} {_number(value)}" for text, value in zip(ticks, values, strict=False))


def _image(values: np.ndarray) -> str:
    rows, columns = values.shape[:2]
    return f"{rows} rows, {columns} columns of values from {_number(np.nanmin(values))} to {_number(np.nanmax(values))}"


def _is_number(text: Text) -> bool:
    return text.get_text().replace("−", "-").lstrip("-").replace(".", "").isdigit()


def _number(value: float) -> str:
    return f"{value:.3g}"
