"""Alternative text: what a figure shows, in words and numbers, for readers who cannot see it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from study.methods import COLOURS, NAMES

LONGEST = 1_500  # characters: a screen reader reads all of them
TINY = 1e-12  # below it a value is what rounding left of 0


def describe_figure(figure: Figure) -> str:
    """Each panel's title and axes, and the numbers of its named lines, points and bars.

    A line is described by its ends, an image by its range. Unnamed parts (intervals, guides) are left out.
    """
    names = {colour: NAMES[method] for method, colour in COLOURS.items()}
    for axis in figure.axes:  # a line may be drawn in one panel and named in another
        for artist, name in zip(*axis.get_legend_handles_labels(), strict=True):
            if hasattr(artist, "get_color"):
                names[str(artist.get_color())] = name
    panels = [text for axis in figure.axes if axis.get_visible() and (text := _panel(axis, names))]
    if not panels:
        return "A figure without numbers."
    count = f"{len(panels)} panels. " if len(panels) > 1 else ""
    shared = "; ".join(filter(None, (figure.get_supylabel(), figure.get_supxlabel())))
    text = " ".join(f"{count}{shared and f'All over {shared}. '}{' '.join(panels)}".split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rsplit(" ", 1)[0] + " …"


def _panel(axis: Axes, names: dict[str, str]) -> str:
    bars = [bar for container in axis.containers for bar in container if isinstance(bar, Rectangle)]
    if axis.images:
        parts = [_image(array) for image in axis.images if (array := image.get_array()) is not None]
    elif bars:
        parts = [_bars(axis, bars)]
    else:
        parts = [text for line in axis.lines if (text := _line(axis, line, names))]
    parts = parts or [_points(points) for points in axis.collections if isinstance(points, PathCollection)]
    parts = parts or [text.get_text() for text in axis.texts if text.get_text()]
    if not parts:
        return ""
    title = axis.get_title() or axis.get_title(loc="left")
    axes = " over ".join(filter(None, (axis.get_ylabel(), axis.get_xlabel())))
    return ": ".join(filter(None, (title, axes, "; ".join(dict.fromkeys(parts))))) + "."


def _line(axis: Axes, line: Line2D, names: dict[str, str]) -> str:
    x, y = (np.asarray(values, float) for values in line.get_data())
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    label = str(line.get_label())
    name = names.get(str(line.get_color()), "") if label.startswith("_") else label
    if not len(x) or line.get_transform() != axis.transData:  # a guide across the panel
        return ""
    if len(x) == 1:  # a point in a row whose name is a tick's label
        labels = (labelled.get_yticklabels() for labelled in (axis, *axis.get_shared_y_axes().get_siblings(axis)))
        texts = next((each for each in ([text.get_text() for text in part] for part in labels) if any(each)), [])
        ticks = zip(axis.get_yticks(), texts, strict=False)
        row = next((text for tick, text in ticks if abs(tick - y[0]) < 0.5 and not _is_number(text)), "")
        return f"{', '.join(dict.fromkeys(filter(None, (row, name))))} {_number(x[0])}" if row else ""
    if not name or label.startswith("_") and len(finite) == 2:  # an interval
        return ""
    start, end = (_place(axis, value) for value in (x[0], x[-1]))
    return f"{name} from {_number(y[0])} {start} to {_number(y[-1])} {end}"


def _place(axis: Axes, x: float) -> str:
    """Where along an axis x is: its number, or the tick beside which it is drawn, if ticks have names."""
    names = {tick: text.get_text() for tick, text in zip(axis.get_xticks(), axis.get_xticklabels(), strict=False)}
    nearest = min(names, key=lambda tick: abs(tick - x), default=x)
    name = names.get(nearest, "")
    return f"({name})" if name.replace(" ", "").isalpha() else f"at {_number(x)}"


def _points(points: PathCollection) -> str:
    x, y = np.asarray(points.get_offsets(), float).T
    ends = (f"{_number(values.min())} to {_number(values.max())}" for values in (x, y))
    return "{} points, from {} across and {} upwards".format(len(x), *ends)


def _bars(axis: Axes, bars: list[Rectangle]) -> str:
    horizontal = len({round(bar.get_height(), 9) for bar in bars}) == 1
    ticks = axis.get_yticklabels() if horizontal else axis.get_xticklabels()
    values = [bar.get_width() if horizontal else bar.get_height() for bar in bars]
    return ", ".join(f"{text.get_text()} {_number(value)}" for text, value in zip(ticks, values, strict=False))


def _image(array: np.ndarray) -> str:
    values = np.ma.filled(array.astype(float), np.nan)
    rows, columns = values.shape[:2]
    return f"{rows} rows, {columns} columns of values from {_number(np.nanmin(values))} to {_number(np.nanmax(values))}"


def _is_number(text: str) -> bool:
    return text.replace("−", "-").lstrip("-").replace(".", "").isdigit()


def _number(value: float) -> str:
    return f"{value if abs(value) > TINY else 0:.3g}"
