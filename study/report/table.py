"""A table and a paragraph as JupyterLab shows them and as the book numbers them; how numbers are written."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ifcore.sanitize import legible


@dataclass(frozen=True)
class Table:
    """A table of the book. `frame` is what it was made of; cells are text with marks: `**best**`, `<u>second</u>`.

    JupyterLab shows it as HTML, the book as a MyST table: numbered, where it has a label. Columns after the first are
    aligned right, unless they hold `text`. Where a cell has a published value beside its own (`beside`), the caption
    says whose those are.
    """

    label: str | None
    caption: str
    header: list[str]
    rows: list[list[str]]
    frame: pd.DataFrame
    text: bool = False

    def _repr_mimebundle_(self, **_) -> tuple[dict, dict]:
        """Beside HTML and Markdown: which file it is from, if any, for the links under it."""
        return {}, {"made": self.frame.attrs.get("made", [])}

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{_html(cell)}</th>" for cell in self.header)
        body = "".join("<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        caption = f"<caption>{_html(self._told())}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_markdown_(self) -> str:
        align = ["---", *["---" if self.text else "---:"] * (len(self.header) - 1)]
        lines = ["| " + " | ".join(row) + " |" for row in (self.header, align, *self.rows)]
        told = _bound(self._told())
        if self.label is None:
            return "\n".join([told, "", *lines])
        return "\n".join([f"```{{table}} {told}", f":name: {self.label}", "", *lines, "```"])

    def _told(self) -> str:
        """The caption, with whose the published values are."""
        if not any(_BESIDE in cell for row in self.rows for cell in row):
            return self.caption
        about = self.frame.published_in.dropna().iloc[0]
        return f"{self.caption} Small and grey: published, {'mean ± s.d. over ' * about.startswith('seeds')}{about}."


@dataclass(frozen=True)
class Prose:
    """A paragraph whose numbers come from the run, in Markdown."""

    text: str

    def _repr_markdown_(self) -> str:
        return _bound(self.text)


def plain(value: object) -> str:
    """Text from the data, or a setting, as a cell that neither Markdown nor HTML reads anything into."""
    text = legible(" ".join(str(value).split()))
    return "".join(f"&#{ord(char)};" if char in _SPECIAL else char for char in text)


def control(text: str) -> str:
    """A cell of a control's row, which is grey."""
    return f'<span class="control">{text}</span>' if text else text


def with_published(cell: str, *rows: pd.DataFrame | pd.Series, write: Callable[[float], str] | None = None) -> str:
    """A cell with the published value on a line of its own, mean ± s.d. over seeds; as it was where there is none.

    `rows`: the tidy rows, or the one, that the cell was made of, as `publish` gives them back; several for a cell of
    several numbers, `97 / 90`. `write` makes text of a number, by default as `percent` does.
    """
    found = [_published(each, write or percent) for each in rows]
    return f"{cell}{_BESIDE}{' / '.join(found)}</small>" if all(found) else cell


def significant(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None or pd.isna(value):
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=3, unique=False, fractional=False, trim="k")


def times(ratio: float) -> str:
    """How many times, such as `12 ×`."""
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


def percent(value: float, low: float = float("nan"), high: float = float("nan")) -> str:
    """A share in percent, over its interval where it has one, as a cell."""
    ends = "" if pd.isna(low) else f"<br>[{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{ends}"


def whole(value: float) -> str:
    """A share as a whole number of percent."""
    return f"{100 * value:.0f}"


def with_interval(row: pd.Series, digits: int = 2) -> str:
    """A value over its interval, as a cell."""
    return f"{row.value:.{digits}f}<br>[{row.ci_low:.{digits}f}, {row.ci_high:.{digits}f}]"


def verdict(holds: int, of: int) -> str:
    """Whether a statement holds in all, none or some of the cases."""
    return "holds here" if holds == of else ("does not hold here" if holds == 0 else f"holds for {holds} of {of}")


def decided(low: float, high: float, above: str, below: str) -> str:
    """What an interval says of a difference: `above` 0, `below` 0, or that it decides nothing.

    An interval without any width comes of too few equal values, and decides nothing either.
    """
    if not low < high:
        return "inconclusive"
    return above if low > 0 else (below if high < 0 else "inconclusive")


def points(value: float, low: float, high: float) -> str:
    """A difference of shares in percentage points, with its sign and interval: `+5.0 [1.2, 8.8] points`.

    Of few examples an interval may be longer than such a difference can be: it ends at 100 points.
    """
    ends = "" if pd.isna(low) else f" [{max(low, -1) * 100:.1f}, {min(high, 1) * 100:.1f}]"
    return f"{round(value * 100, 1) + 0:+.1f}{ends} points"  # + 0: no minus before a zero


def moved(value: float, low: float, high: float) -> str:
    """The same as a cell, without its unit: `+5.0<br>[1.2, 8.8]`."""
    return points(value, low, high).removesuffix(" points").replace(" [", "<br>[")


def interval(low: float, high: float) -> str:
    """` [low, high]`, or nothing where there is none."""
    return "" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]"


_BESIDE = '<br><small class="published">'
_TAGS = re.compile('&lt;(/?u|br|span class="control"|/span|small class="published"|/small)&gt;')  # of own cells
_SPECIAL = set("\\`*_{}[]<>()#+-.!|$&~^:\"'@%=")


def _bound(text: str) -> str:
    """A number and its sign stay on one line."""
    return re.sub(r"(?<=[\d.]) (?=[%×])", "\u00a0", text)


def _published(rows: pd.DataFrame | pd.Series, write: Callable[[float], str]) -> str:
    """`97.0 ± 1.2`, or nothing."""
    frame = rows.to_frame().T if isinstance(rows, pd.Series) else rows
    if "published" not in frame or (known := frame[frame.published.notna()]).empty:
        return ""
    mean, sd = known.published.iloc[0], known.published_sd.iloc[0]
    return write(mean) if pd.isna(sd) else f"{write(mean)} ± {write(sd)}"


def _html(cell: str) -> str:
    """A cell's marks as HTML, its text escaped."""
    own, line, published = cell.partition(_BESIDE)
    text = html.escape(html.unescape(own), quote=False)
    for mark, tag in (("**", "b"), ("*", "i")):
        if text.startswith(mark) and text.endswith(mark):
            text = f"<{tag}>{text.removeprefix(mark).removesuffix(mark)}</{tag}>"
    return _TAGS.sub(r"<\1>", text + html.escape(line + published, quote=False))
