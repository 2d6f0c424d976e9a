"""The scorecard: every claim's estimate against its threshold, as a figure, and as a table that is folded away."""

import textwrap
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.claims import numbers
from study.claims.claims import Claim, with_claims
from study.claims.verdicts import NOT_SUPPORTED, NOT_TESTABLE, OPEN, SUPPORTED
from study.config import Run
from study.report.plot import draw_interval, handle, save, with_style
from study.report.table import Prose, Table

COLOURS = {SUPPORTED: "#00694e", NOT_SUPPORTED: "#a8410a", OPEN: "#5f6368", NOT_TESTABLE: "#5f6368"}


@with_style
def scorecard_figure(run: Run, scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Figure:
    """Each claim's estimate with its interval, and its threshold with the side on which it holds; a panel a unit.

    Leaves fig_scorecard.*.
    """
    rows = [(row, claim) for row, claim in with_claims(scorecard, claims) if pd.notna(row.value)]
    if not rows:
        figure, axis = plt.subplots(figsize=(7.2, 1.0))
        axis.axis("off")
        axis.text(0, 0.5, "No claim has an estimate.", color=COLOURS[OPEN])
        return save(run, "fig_scorecard", figure, ("scorecard",))
    units = {unit: [pair for pair in rows if pair[1].unit in kinds] for unit, kinds in _PANELS.items()}
    units = {unit: pairs for unit, pairs in units.items() if pairs}
    heights = [len(pairs) + 1.2 for pairs in units.values()]
    figure, axes = plt.subplots(
        len(units), 1, figsize=(7.2, 0.6 + 0.3 * sum(heights)), height_ratios=heights, squeeze=False
    )
    for axis, (unit, pairs) in zip(axes[:, 0], units.items(), strict=True):
        _panel(axis, unit, pairs)
    verdicts = dict.fromkeys(row.verdict for row, _ in rows)
    handles = [handle(verdict, color=COLOURS[verdict], **_FACES.get(verdict, {})) for verdict in verdicts]
    figure.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
    return save(run, "fig_scorecard", figure, ("scorecard",))


def counts_text(scorecard: pd.DataFrame) -> Prose:
    """How many claims have which verdict, and why claims are open."""
    counts = ", ".join(f"{(scorecard.verdict == verdict).sum()} {verdict}" for verdict in COLOURS)
    reasons = scorecard[scorecard.verdict == OPEN].reason.value_counts()
    why = f" Open: {'; '.join(f'{reason} ({count})' for reason, count in reasons.items())}." if len(reasons) else ""
    return Prose(f"Of {len(scorecard)} claims: {counts}.{why}")


def scorecard_table(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Table:
    """One line per claim: its test, the verdict, the estimate with its interval, where the evidence is."""
    rows = []
    for row, claim in with_claims(scorecard, claims):
        verdict = f"**{row.verdict}**" + (f": {row.reason}" if isinstance(row.reason, str) else "")
        p = "" if pd.isna(row.p) else "< 0.0001" if row.p < 1e-4 else f"{row.p:.2g}"
        rows.append(
            [
                f"{claim.claim}<br>{claim.test}",
                claim.section,
                verdict,
                numbers.cell(row, claim.unit),
                p,
                numbers.link(row, claim),
            ]
        )
    header = ["Claim and test", "Section", "Verdict", "Estimate", "p", "Evidence"]
    caption = "Each claim with its test, and the estimate that it hangs on, with its 95 % interval."
    return Table(None, caption, header, rows, scorecard, text=True, folded="All claims and their tests, as a table")


_PANELS = {
    "points": ("share",),
    "correlation or exponent": ("correlation", "number"),
    "nats": ("nats",),
    "factor": ("times",),
}
_FACES: dict[str, dict[str, Any]] = {OPEN: {"mfc": "white"}}


def _panel(axis: Axes, unit: str, pairs: Sequence[tuple[Any, Claim]]) -> None:
    names = [textwrap.shorten(claim.claim, 62, placeholder=" …") for _, claim in pairs]
    for place, (row, claim) in enumerate(reversed(pairs)):
        value, low, high, threshold = (
            _on_axis(end, claim) for end in (row.value, row.ci_low, row.ci_high, _threshold(row, claim))
        )
        draw_interval(axis, place, (value, low, high), color=COLOURS[row.verdict], **_FACES.get(row.verdict, {}))
        sign = {"above": ">", "below": "<", "within": "<" if row.value >= 0 else ">"}[claim.side]
        axis.plot(threshold, place, marker="|", markersize=11, color="black", label=f"holds if {sign}")
        axis.annotate(
            sign, (threshold, place), xytext=(4 if sign == ">" else -9, -3), textcoords="offset points", fontsize=8
        )
    axis.set_yticks(range(len(pairs)), names[::-1], fontsize=8)
    axis.set_ylim(-0.7, len(pairs) - 0.3)
    axis.set_xlabel(unit)


def _threshold(row, claim: Claim) -> float:
    """Of a margin, the end that the estimate is nearer to."""
    return -claim.threshold if claim.side == "within" and row.value < 0 else claim.threshold


def _on_axis(value: float, claim: Claim) -> float:
    return 100 * value if claim.unit == "share" else 10**value if claim.unit == "times" else value
