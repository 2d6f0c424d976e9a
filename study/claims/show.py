"""The scorecard, the five lines that answer the book's question, and the figure under them."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from study import statistics
from study.claims.estimates import ITSELF, Lacking, Tables, mean_by_seed, rows_learnt, rows_of
from study.claims.verdicts import INCONCLUSIVE, NOT_SUPPORTED, SUPPORTED, Claim, fixed_on
from study.config import Run
from study.pipeline.baselines import BASELINES
from study.report.colours import COLOURS
from study.report.names import DATASETS, NAMES
from study.report.plot import STYLE, save
from study.report.published import FEWEST
from study.report.table import Prose, Table
from study.statistics import Pooled


def answer_text(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Prose:
    """The answer to the book's question in five lines, each by a claim's verdict."""
    about = {claim.id: claim for claim in claims}
    rows = {row.claim: row for row in scorecard.itertuples()}
    lines = [_line(rows[name], about[name]) for name in ("question", "harmful_poor", "repsim_labels")]
    lines.append(" ".join(_line(rows[name], about[name]) for name in ("repsim_lds", "repsim_removal")))
    counts = {verdict: int((scorecard.verdict == verdict).sum()) for verdict in (SUPPORTED, NOT_SUPPORTED)}
    seeds = int(scorecard.seeds.max())
    few = f"; a verdict takes {FEWEST} seeds, and this is {seeds}" if seeds < FEWEST else ""
    open_ = len(scorecard) - sum(counts.values())
    lines.append(
        f"Of the paper's claims, the question among them, {len(scorecard)} in all, {counts[SUPPORTED]} "
        f"are supported, {counts[NOT_SUPPORTED]} are not, and {open_} are left open{few}."
    )
    return Prose("\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1)))


def short_text(run: Run, scorecard: pd.DataFrame, theirs: pd.DataFrame) -> Prose:
    """The answer in a sentence without numbers, by this run's verdicts; where its model is random, by the published."""
    if not run.profile.model.startswith("random:"):
        return Prose(f"**In short.** {_short(scorecard)}")
    told = (
        f"**This book is of the profile `{run.profile.name}`**, whose model is small and random. It shows that all "
        "runs; its numbers and verdicts say nothing of influence functions."
    )
    return Prose(told + (f" What the published runs say, in short: {_short(theirs)}" if theirs.seeds.max() else ""))


def published_text(theirs: pd.DataFrame, claims: Sequence[Claim], folders: Sequence[Path]) -> Prose | None:
    """The same five lines by the published runs in `folders`; None where none are shown beside this run."""
    if not folders:
        return None
    about = f"{len(folders)} seeds of the profile `{folders[0].parent.name}`"
    return Prose(f"The published runs ({about}) answer:\n\n{answer_text(theirs, claims).text}")


def badges(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Prose:
    """The scorecard in a paragraph: a badge for each claim, by its verdict, that leads to its evidence."""
    about = {claim.id: claim for claim in claims}
    found = []
    for row in scorecard.itertuples():
        claim, (colour, sign) = about[row.claim], _BADGES[row.verdict]
        text, told = f"{sign} {row.claim.replace('_', ' ')}", f"{claim.claim}: {row.verdict}".replace(";", "\\;")
        linked = _has_evidence(row, claim)
        role, target = (f"bdg-ref-{colour}", f" <{claim.evidence}>") if linked else (f"bdg-{colour}", "")
        found.append(f"{{{role}}}`{text}{target}; {told}`")
    return Prose(" ".join(found))


def scorecard_table(scorecard: pd.DataFrame, claims: Sequence[Claim], theirs: pd.DataFrame) -> Table:
    """One line a claim: verdict, number with its interval, where the evidence is; `theirs`: the published verdicts,
    which are shown where there are any."""
    known = bool(theirs.seeds.max())
    published = {row.claim: _verdict(row) for row in theirs.itertuples()}
    about = {claim.id: claim for claim in claims}
    rows = []
    for row in scorecard.itertuples():
        claim = about[row.claim]
        sign = {"above": ">", "below": "<", "within": "within ±"}[claim.side]
        asked = f"{sign} {_number(claim.threshold, claim.unit)}".replace("± ", "±")
        verdicts = [_verdict(row), published[row.claim]] if known else [_verdict(row)]
        rows.append([claim.claim, claim.section, *verdicts, _estimate(row, claim), asked, _link(row, claim)])
    header = ["Claim", "Section", "Verdict", *["Published"] * known, "Number", "Stands where", "Evidence"]
    caption = (
        "Each claim with the number that it hangs on (in brackets its interval, corrected for the number of claims). "
        f"Seeds: {int(scorecard.seeds.max())}. Tests and thresholds were fixed on {fixed_on()}."
    )
    return Table(None, caption, header, rows, scorecard, text=True)


def claims_text(scorecard: pd.DataFrame, claims: Sequence[Claim], verdict: str) -> Prose:
    """The claims that got this verdict, one by one: the number, and what was asked."""
    about = {claim.id: claim for claim in claims}
    lines = []
    for row in scorecard[scorecard.verdict == verdict].itertuples():
        claim = about[row.claim]
        line = f"- **{claim.claim}** (section {claim.section}). {claim.test}"
        line += f" Here: {_what(row)}{_inline(row, claim)}" if pd.notna(row.value) else ""
        line += f", p {_p(row.p)} after correction" if row.seeds >= FEWEST and pd.notna(row.p) else ""
        line += f". {_open(row)}" if verdict == INCONCLUSIVE else "."
        link = _link(row, claim)
        lines.append(line.replace("..", ".") + (f" See {link}." if link else ""))
    return Prose("\n".join(lines or ["- None."]))


def answer_figure(run: Run, tables: Tables) -> Figure:
    """Each method in labels, in the linear datamodeling score and in removal, beside the best control of each.

    A panel says so where there is nothing to show. Leaves fig_scorecard.*.
    """
    found = [(_estimates(tables, *of), title, scale, ends) for title, scale, ends, *of in _PANELS]
    names = [name for name in NAMES if any(name in each for each, *_ in found)][::-1]
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(1, len(found), figsize=(7.2, 3.4), sharey=True)
        for axis, (estimates, title, scale, (least, most)) in zip(axes, found, strict=True):
            axis.set_xlabel(title)
            axis.set_yticks(range(len(names)), [NAMES[name] for name in names])
            axis.axhline(sum(name in BASELINES for name in names) - 0.5, color="#CCCCCC", linewidth=0.6)
            if not estimates:
                axis.text(0.5, 0.5, "nothing to show", transform=axis.transAxes, ha="center", color="#777777")
                continue
            for place, name in enumerate(names):
                if name in estimates:
                    ends = [scale * min(max(each, least), most) for each in estimates[name].interval(0.05)]
                    axis.plot(ends, [place] * 2, color=COLOURS[name], linewidth=1.2)
                    axis.plot(scale * estimates[name].mean, place, marker="o", markersize=4, color=COLOURS[name])
            best = max(scale * each.mean for name, each in estimates.items() if name in BASELINES)
            axis.axvline(best, color="black", linewidth=0.8, linestyle=":")
        save(run, "fig_scorecard", figure, ("controls", "lds", "removal"))
    return figure


_BADGES = {SUPPORTED: ("success", "✓"), NOT_SUPPORTED: ("danger", "✗"), INCONCLUSIVE: ("secondary", "?")}
_SHORT = {
    "repsim_labels": {
        SUPPORTED: "At finding training examples of the right kind, comparing hidden states (*RepSim*) beats influence "
        "functions, as the paper says",
        NOT_SUPPORTED: "At finding training examples of the right kind, comparing hidden states (*RepSim*) does not "
        "beat influence functions, whatever the paper says",
        INCONCLUSIVE: "Whether comparing hidden states (*RepSim*) beats influence functions at finding training "
        "examples of the right kind cannot be told",
    },
    "question": {
        SUPPORTED: "one influence method foretells what training without some examples does, and picks those that "
        "matter most, better than all that cannot know (*controls*): in that sense they work",
        NOT_SUPPORTED: "no influence method both foretells what training without some examples does and picks those "
        "that matter most, better than all that cannot know (*controls*): in that sense they do not work",
        INCONCLUSIVE: "whether one influence method foretells what training without some examples does, and picks "
        "those that matter most, better than all that cannot know (*controls*), is not decided",
    },
}
_PANELS = (  # title, scale, the least and most there can be; CSV, metric, whether a seed's rows share their examples
    ("coverage, labels (%)", 100, (0, 1), "controls", "coverage", False),
    ("linear datamodeling score", 1, (-1, 1), "lds", "lds", False),
    ("rise of the loss after\nremoval (nats per token)", 1, (-inf, inf), "removal", "rise", True),
)
_LINES = {
    "question": {
        SUPPORTED: "**Influence functions work here**: one method is ahead of every control in the linear datamodeling "
        "score and in what removing its choice does. Its narrowest lead",
        NOT_SUPPORTED: "**Influence functions do not work here**: each method of influence is behind some control in "
        "the linear datamodeling score or in what removing its choice does. The one that fares best",
        INCONCLUSIVE: "**Whether influence functions work is not decided**",
    },
    "harmful_poor": {
        SUPPORTED: "At finding harmful examples they are as poor as the paper says: none gets half of the way from "
        "chance to 100 %. The farthest",
        NOT_SUPPORTED: "At finding harmful examples they are not as poor as the paper says: one gets more than half of "
        "the way from chance to 100 %. The farthest",
        INCONCLUSIVE: "Whether they are poor at finding harmful examples is open",
    },
    "repsim_labels": {
        SUPPORTED: "In labels RepSim leads the paper's three methods, as the paper says; its narrowest lead",
        NOT_SUPPORTED: "In labels RepSim does not lead the paper's three methods",
        INCONCLUSIVE: "Whether RepSim leads in labels is open",
    },
    "repsim_lds": {
        SUPPORTED: "That lead is one in prediction, too: RepSim foretells best what training on other examples does, "
        "at least",
        NOT_SUPPORTED: "In predicting what training on other examples does RepSim is not ahead",
        INCONCLUSIVE: "Whether RepSim foretells best what training on other examples does is open",
    },
    "repsim_removal": {
        SUPPORTED: "Removing what it ranks highest changes the model most, at least",
        NOT_SUPPORTED: "Removing what it ranks highest does not change the model most",
        INCONCLUSIVE: "Whether removing what it ranks highest changes the model most is open",
    },
}


def _short(scorecard: pd.DataFrame) -> str:
    verdicts = scorecard.set_index("claim").verdict
    labels, question = (words[verdicts[claim]] for claim, words in _SHORT.items())
    return f"{labels}; {question}."


def _line(row, claim: Claim) -> str:
    """A sentence by the claim's verdict, with the number that it rests on."""
    words = _LINES[claim.id][row.verdict]
    number = f": {_what(row)}{_inline(row, claim)}" if pd.notna(row.value) else ""
    if row.verdict != INCONCLUSIVE:
        return f"{words}{number}."
    return f"{words}. {_open(row, number)}"


def _open(row, number: str = "") -> str:
    """Why there is no verdict, which way it leans, by which `number`, and what would decide."""
    leans = f"It leans to *{row.leans}*" if pd.notna(row.leans) and row.leans else "It leans neither way"
    said = f"{leans} ({row.reason}){number}." if pd.notna(row.value) else f"There is no number ({row.reason})."
    if pd.isna(row.needed):
        return said
    if row.needed == inf:
        return f"{said} More seeds like these would not decide."
    return f"{said} About {int(row.needed)} seeds like these would decide."


def _p(p: float) -> str:
    return "< 0.0001" if p < 1e-4 else f"= {p:.2g}"


def _verdict(row) -> str:
    if row.verdict != INCONCLUSIVE:
        return f"**{row.verdict}**"
    if pd.isna(row.value):
        return f"{row.verdict}: {row.reason}"
    needed = "" if pd.isna(row.needed) or row.needed == inf else f"; {int(row.needed)} seeds would decide"
    return f"{row.verdict}, leans to {row.leans or 'neither'}{needed}"


def _estimate(row, claim: Claim) -> str:
    """Number, interval and what it is of, as a cell."""
    return "" if pd.isna(row.value) else f"{_inline(row, claim).strip()}<br>{_what(row)}"


def _inline(row, claim: Claim) -> str:
    ends = "" if pd.isna(row.ci_low) else f" [{_digits(row.ci_low, claim.unit)}, {_digits(row.ci_high, claim.unit)}]"
    return f" {_digits(row.value, claim.unit)}{ends}{_UNITS[claim.unit]}"


_UNITS = {"share": " points", "correlation": "", "number": "", "nats": " nats", "times": " ×"}


def _digits(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.1f}"
    return f"{10**value:.2f}" if unit == "times" else f"{value:.3f}"


def _number(value: float, unit: str) -> str:
    return f"{_digits(value, unit)}{_UNITS[unit]}"


def _what(row) -> str:
    """What an estimate is of, in the names of the book."""
    known = NAMES | DATASETS | {"lds": "LDS"}
    return ", ".join(" ".join(known.get(word, word) for word in part.split(" ")) for part in row.of.split(", "))


def _link(row, claim: Claim) -> str:
    """To the evidence, where there is any."""
    if not _has_evidence(row, claim):
        return ""
    return f"{{{'ref' if claim.evidence.startswith('sec-') else 'numref'}}}`{claim.evidence}`"


def _has_evidence(row, claim: Claim) -> bool:
    return claim.evidence is not None and pd.notna(row.value)


def _estimates(tables: Tables, name: str, metric: str, paired: bool) -> dict[str, Pooled]:
    """A metric of each method by itself, pooled over seeds; empty where there is no table, or in it nothing learnt."""
    try:
        frame = (rows_learnt if name == "controls" else rows_of)(tables, name)
    except Lacking:
        return {}
    own = frame[(frame.metric == metric) & (frame.against == ITSELF) & frame.method.isin(list(NAMES))]
    everywhere = own.groupby("method").dataset.nunique() == own.dataset.nunique()  # a mean over others compares nothing
    own = own[own.method.map(everywhere)]
    rows = {method: mean_by_seed(part, paired) for method, part in own.groupby("method", sort=False)}
    return {m: statistics.random_effects(each.value, each.ci_low, each.ci_high) for m, each in rows.items()}
