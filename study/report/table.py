"""Tables and paragraphs, as JupyterLab shows them and as the book numbers them, and how numbers are written."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import pandas as pd

from ifcore.sanitize import legible


@dataclass(frozen=True)
class Table:
    """A table of text cells with marks (`**best**`, `<u>second</u>`), made of the rows of `frame`.

    JupyterLab shows it as HTML; the book as a MyST table, numbered if it has a label. All columns but the first are
    aligned right, unless the cells are `text`. The caption says that small values are published, where cells have them.
    `folded`: the line under which the table is folded away.
    """

    label: str | None
    caption: str
    header: list[str]
    rows: list[list[str]]
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)
    text: bool = False
    folded: str = ""

    def _repr_mimebundle_(self, **_) -> tuple[dict, dict]:
        """Metadata beside HTML and Markdown: the files that the table was made of, for the links under it."""
        return {}, {"made": self.frame.attrs.get("made", [])}

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{_html(cell)}</th>" for cell in self.header)
        body = "".join("<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        caption = f"<caption>{_html(self._full_caption())}</caption>"
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return fold(table, _html(self.folded)) if self.folded else table

    def _repr_markdown_(self) -> str:
        align = ["---", *["---" if self.text else "---:"] * (len(self.header) - 1)]
        rows = (list(map(_typeset, row)) for row in (self.header, *self.rows))
        lines = ["", *("| " + " | ".join(row) + " |" for row in (next(rows), align, *rows))]
        caption = _typeset(self._full_caption())
        numbered = [f"```{{table}} {caption}", f":name: {self.label}", *lines, "```"]
        text = "\n".join(numbered if self.label else [caption, *lines])
        return fold(text, self.folded) if self.folded else text

    def _full_caption(self) -> str:
        has_published = any(_PUBLISHED in cell for row in self.rows for cell in row)
        return f"{self.caption} Small: published." if has_published else self.caption


@dataclass(frozen=True)
class Prose:
    """A paragraph whose numbers come from the run, in Markdown."""

    text: str

    def _repr_markdown_(self) -> str:
        return _typeset(self.text)


def fold(content: str, title: str) -> str:
    """HTML or Markdown folded away under a line of text, which opens it."""
    return f'<details class="fold"><summary>{title}</summary>\n\n{content}\n\n</details>'


def plain(value: object) -> str:
    """Text from the data or a setting as a cell in which neither Markdown nor HTML means anything."""
    text = legible(" ".join(str(value).split()))
    return "".join(f"&#{ord(char)};" if char in _SPECIAL else char for char in text)


def control_cell(text: str) -> str:
    """A cell of a control's row, which is grey."""
    return f'<span class="control">{text}</span>' if text else text


def with_published(cell: str, *rows: pd.DataFrame | pd.Series, write: Callable[[float], str] | None = None) -> str:
    """A cell with the published value, mean ± s.d. over seeds, on a line of its own, where there is one.

    `rows` are the tidy rows, or the single row, that the cell was made of, as `save_table` returns them; several for a
    cell of several numbers, `97 / 90`. `write` formats a number, by default `percent`.
    """
    values = [_published_value(row, write or percent) for row in rows]
    return f"{cell}{_PUBLISHED}{' / '.join(values)}</small>" if all(values) else cell


def significant(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None or pd.isna(value):
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{Decimal(f'{value:.2e}'):f}"


def times(ratio: float) -> str:
    """A factor, such as `12 ×`."""
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


def percent(value: float, low: float = float("nan"), high: float = float("nan")) -> str:
    """A cell of a share in percent, over its interval if it has one."""
    ends = "" if pd.isna(low) else f"<br>[{100 * low:.1f}, {100 * high:.1f}]"
    return f"{100 * value:.1f}{ends}"


def whole(value: float) -> str:
    """A share in whole percent."""
    return f"{100 * value:.0f}"


def difference_verdict(low: float, high: float, above: str, below: str) -> str:
    """What a difference's interval shows: `above` zero, `below` zero, or inconclusive.

    An interval of no width comes from too few, equal values, and is inconclusive.
    """
    if not low < high:
        return "inconclusive"
    return above if low > 0 else (below if high < 0 else "inconclusive")


def points(value: float, low: float, high: float) -> str:
    """A difference of shares in percentage points: `+5.0 [1.2, 8.8] points`, its interval cut off at 100 points."""
    ends = "" if pd.isna(low) else f" [{max(low, -1) * 100:.1f}, {min(high, 1) * 100:.1f}]"
    return f"{round(value * 100, 1) + 0:+.1f}{ends} points"  # + 0: no minus before a zero


def points_cell(value: float, low: float, high: float) -> str:
    """The same as a cell, without its unit: `+5.0<br>[1.2, 8.8]`."""
    return points(value, low, high).removesuffix(" points").replace(" [", "<br>[")


def plus_minus(value: float, spread: float, write: Callable[[float], str]) -> str:
    """`0.78 ± 0.01`, the spread with no more decimals than its value; the value alone where there is no spread."""
    if pd.isna(spread):
        return write(value)
    decimals = [len(text.partition(".")[2]) for text in (write(value), write(spread))]
    return f"{write(value)} ± {float(write(spread).replace(',', '')):,.{min(decimals)}f}"


def interval(low: float, high: float) -> str:
    """` [low, high]`, or nothing where there is none."""
    return (
        "" if pd.isna(low) else f" [{round(low, 2) + 0:.2f}, {round(high, 2) + 0:.2f}]"
    )  # + 0: no minus before a zero


_PUBLISHED = '<br><small class="published">'
_TAGS = re.compile('&lt;(/?u|br|span class="control"|/span|small class="published"|/small)&gt;')  # of the study's cells
_SPECIAL = set("\\`*_{}[]<>()#+-.!|$&~^:\"'@%=")


def _typeset(text: str) -> str:
    """A number and its unit stay on one line; a minus is no hyphen."""
    return re.sub(r"(?<![\w-])-(?=\d)", "−", re.sub(r"(?<=[\d.]) (?=[%×])", "\u00a0", text))


def _published_value(rows: pd.DataFrame | pd.Series, write: Callable[[float], str]) -> str:
    """`97.0 ± 1.2`, or nothing."""
    frame = rows.to_frame().T if isinstance(rows, pd.Series) else rows
    if "published" not in frame or (published := frame[frame.published.notna()]).empty:
        return ""
    mean, sd = published[["published", "published_sd"]].iloc[0]
    return plus_minus(mean, sd, write)


def _html(cell: str) -> str:
    """A cell as HTML: its marks as tags, its text escaped."""
    value, line, published = cell.partition(_PUBLISHED)
    text = html.escape(html.unescape(value), quote=False)
    for mark, tag in (("**", "b"), ("*", "i")):
        if text.startswith(mark) and text.endswith(mark):
            text = f"<{tag}>{text.removeprefix(mark).removesuffix(mark)}</{tag}>"
    return _TAGS.sub(r"<\1>", text + html.escape(line + published, quote=False))
