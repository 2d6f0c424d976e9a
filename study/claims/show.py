"""The scorecard, the lines that answer the book's question, and the figure under them."""

from collections.abc import Iterator, Sequence
from functools import cache
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from study.claims.claims import PRIMARY, Claim, fixed_on, named_method
from study.claims.estimates import NoEstimate, Tables, get_table, learnt_rows, mean_by_seed
from study.claims.verdicts import MIN_SEEDS, NOT_SUPPORTED, NOT_TESTABLE, OPEN, SUPPORTED
from study.config import Run
from study.methods import COLOURS, CONTROLS, NAMES, ORACLE
from study.pooling import Pooled, pool
from study.report.names import DATASETS
from study.report.plot import save, with_style
from study.report.results import save_table
from study.report.table import Prose, Table
from study.schema import ITSELF


def answer_text(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Prose:
    """The answer to the book's question, and the five primary claims, each by its verdict."""
    primary = [(row, claim) for row, claim in _rows(scorecard, claims) if claim.kind == PRIMARY]
    lines = [f"{works(scorecard)}.", *(_sentence(row, claim) for row, claim in primary)]
    counts = ", ".join(f"{(scorecard.verdict == verdict).sum()} {verdict}" for verdict in VERDICTS)
    lines.append(f"Of {len(scorecard)} claims in all: {counts}.")
    return Prose("\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1)))


def works(scorecard: pd.DataFrame) -> str:
    """The answer to the title's question: by whether influence predicts retraining, and whether what it ranks highest
    matters most."""
    verdicts = scorecard.set_index("claim").verdict.reindex(["influence_lds", "influence_removal"])
    supported = list(verdicts.index[verdicts == SUPPORTED])
    if len(supported) == 2:
        return _sentences("works")["both"]
    if not verdicts.isin([SUPPORTED, NOT_SUPPORTED]).all():
        return _sentences("works")["open"]
    return _sentences("works")[supported[0] if supported else "neither"]


def short_text(run: Run, scorecard: pd.DataFrame, published: pd.DataFrame) -> Prose:
    """The answer in a sentence without numbers, by this run's verdicts; where its model is random, by the published."""
    if not run.profile.model.startswith("random:"):
        return Prose(f"**In short.** {works(scorecard)}.")
    warning = (
        f"**This book is of the profile `{run.profile.name}`**, whose model is small and random. It shows that all "
        "runs; its numbers and verdicts say nothing of influence functions."
    )
    more = f" What the published runs say, in short: {works(published)}." if published.seeds.max() else ""
    return Prose(warning + more)


def published_text(published: pd.DataFrame, claims: Sequence[Claim], folders: Sequence[Path]) -> Prose | None:
    """The same lines by the published runs in `folders`; None where none are shown beside this run."""
    if not folders:
        return None
    runs = f"{len(folders)} seeds of the profile `{folders[0].parent.name}`"
    return Prose(f"The published runs ({runs}) answer:\n\n{answer_text(published, claims).text}")


def replication_table(run: Run, frame: pd.DataFrame, claims: Sequence[Claim]) -> Table | None:
    """Whether a run reproduces published seeds or replicates what they say; None without any to be held against.
    Leaves replication.csv."""
    if frame.empty:
        return None
    by_id, rows = {claim.id: claim for claim in claims}, []
    for row in frame.itertuples():
        unit = by_id[row.claim].unit
        ends = "" if pd.isna(row.low) else f" [{_digits(row.low, unit)}, {_digits(row.high, unit)}]"
        numbers = f"{_digits(row.value, unit)}", f"{_digits(row.expected, unit)}{ends}{_UNITS[unit]}"
        rows.append([by_id[row.claim].claim, _subject(row), str(row.seed), *numbers, f"**{row.outcome}**"])
    counts = frame.outcome.value_counts()
    caption = (
        "This run beside the published seeds: "
        + ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
        + ". Of a seed that is published the same value is asked for; of another, one between the ends in brackets, "
        "where 95 % of further seeds fall, and on the same side of the claim's threshold."
    )
    header = ["Claim", "Number", "Seed", "This run", "Expected", "Outcome"]
    return Table(None, caption, header, rows, save_table(run, "replication", frame), text=True)


def badges(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Prose:
    """The scorecard in a paragraph: a badge for each claim, by its verdict, that leads to its evidence."""
    texts = []
    for row, claim in _rows(scorecard, claims):
        colour, sign = _BADGES[row.verdict]
        label = f"{sign} {row.claim.replace('_', ' ')}"
        tooltip = f"{claim.claim}: {row.verdict}".replace(";", "\\;")
        evidence = _evidence(row, claim)
        role, target = (f"bdg-ref-{colour}", f" <{evidence}>") if evidence else (f"bdg-{colour}", "")
        texts.append(f"{{{role}}}`{label}{target}; {tooltip}`")
    return Prose(" ".join(texts))


def scorecard_table(scorecard: pd.DataFrame, claims: Sequence[Claim], published: pd.DataFrame) -> Table:
    """One line per claim: verdict, number with its interval, where the evidence is; with the `published` verdicts where
    there are any."""
    has_published = bool(published.seeds.max())
    published_verdicts = {row.claim: _verdict(row) for row in published.itertuples()}
    rows = []
    for row, claim in _rows(scorecard, claims):
        verdicts = [_verdict(row), published_verdicts[row.claim]] if has_published else [_verdict(row)]
        sign = {"above": "> ", "below": "< ", "within": "within ±"}[claim.side]
        threshold = f"{sign}{_digits(claim.threshold, claim.unit)}{_UNITS[claim.unit]}"
        number = "" if pd.isna(row.value) else f"{_with_interval(row, claim)}<br>{_subject(row)}"
        rows.append([claim.claim, claim.section, *verdicts, number, threshold, _link(row, claim)])
    header = ["Claim", "Section", "Verdict", *["Published"] * has_published, "Number", "Stands where", "Evidence"]
    caption = (
        "Each claim with the number that it hangs on, in brackets its 95 % interval. The first five are primary: in "
        "one of twenty such tables at most any of them has a wrong verdict. The others are exploratory. "
        f"Seeds: {int(scorecard.seeds.max())}. Tests and thresholds were fixed on {fixed_on()}."
    )
    return Table(None, caption, header, rows, scorecard, text=True)


def claims_text(scorecard: pd.DataFrame, claims: Sequence[Claim], verdict: str) -> Prose:
    """The claims that got this verdict, one by one: the number, and the test."""
    lines = []
    for row, claim in _rows(scorecard[scorecard.verdict == verdict], claims):
        line = f"- **{claim.claim}** (section {claim.section}). {claim.test}"
        line += f" Here: {_subject(row)} {_with_interval(row, claim)}" if pd.notna(row.value) else ""
        if row.seeds >= MIN_SEEDS:
            line += f", p {'< 0.0001' if row.p < 1e-4 else f'= {row.p:.2g}'}"
        line += f". {_why_open(row)}" if verdict in (OPEN, NOT_TESTABLE) else "."
        link = _link(row, claim)
        lines.append(line.replace("..", ".") + (f" See {link}." if link else ""))
    return Prose("\n".join(lines or ["- None."]))


@with_style
def answer_figure(run: Run, tables: Tables) -> Figure:
    """Each method in labels, in the linear datamodeling score and in removal, beside the best baseline of each.

    A panel says so where there is nothing to show. Leaves fig_scorecard.*.
    """
    panels = [(title, scale, ends, _estimates(tables, *source)) for title, scale, ends, source in _PANELS]
    names = [name for name in NAMES if any(name in estimates for *_, estimates in panels)][::-1]
    figure, axes = plt.subplots(1, len(panels), figsize=(7.2, 3.4), sharey=True)
    for axis, (title, scale, limits, estimates) in zip(axes, panels, strict=True):
        axis.set_xlabel(title)
        axis.set_yticks(range(len(names)), [NAMES[name] for name in names])
        axis.axhline(sum(name in CONTROLS for name in names) - 0.5, color="#CCCCCC", linewidth=0.6)
        if not estimates:
            axis.text(0.5, 0.5, "nothing to show", transform=axis.transAxes, ha="center", color="#777777")
            continue
        for place, name in enumerate(names):
            if name in estimates:
                ends = scale * np.clip(estimates[name].interval(0.05), *limits)
                axis.plot(ends, [place] * 2, color=COLOURS[name], linewidth=1.2)
                axis.plot(scale * estimates[name].mean, place, marker="o", markersize=4, color=COLOURS[name])
        best = max(scale * estimate.mean for name, estimate in estimates.items() if name in CONTROLS)
        axis.axvline(best, color="black", linewidth=0.8, linestyle=":")
    return save(run, "fig_scorecard", figure, ("controls", "lds", "removal"))


VERDICTS = (SUPPORTED, NOT_SUPPORTED, OPEN, NOT_TESTABLE)
_BADGES = dict(zip(VERDICTS, (("success", "✓"), ("danger", "✗"), ("secondary", "?"), ("light", "–")), strict=True))
_PANELS = (  # title, scale, the least and most there can be; CSV, metric, whether a seed's rows share their examples
    ("coverage, labels (%)", 100, (0, 1), ("controls", "coverage", False)),
    ("linear datamodeling score", 1, (-1, 1), ("lds", "lds", False)),
    ("rise of the loss after\nremoval (nats per token)", 1, (-inf, inf), ("removal", "rise", True)),
)
_UNITS = {"share": " points", "correlation": "", "number": "", "nats": " nats", "times": " ×"}


@cache
def _sentences(kind: str) -> dict[str, Any]:
    """Claim -> verdict -> what the book says; of `works`, which of two hold -> that."""
    return yaml.safe_load(Path(__file__).with_name("sentences.yaml").read_text(encoding="utf-8"))[kind]


def _rows(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Iterator[tuple[Any, Claim]]:
    by_id = {claim.id: claim for claim in claims}
    return ((row, by_id[row.claim]) for row in scorecard.itertuples())


def _sentence(row, claim: Claim) -> str:
    verdict = OPEN if row.verdict == NOT_TESTABLE else row.verdict
    text = _sentences("answer")[claim.id][verdict].format(method=NAMES[named_method()])
    number = f": {_subject(row)} {_with_interval(row, claim)}" if pd.notna(row.value) else ""
    return f"{text}. {_why_open(row, number)}" if verdict == OPEN else f"{text}{number}."


def _why_open(row, number: str = "") -> str:
    """Why there is no verdict, and which way it leans, by which `number`."""
    if pd.isna(row.value):
        return f"There is no number ({row.reason})."
    return f"It leans to *{row.leans}* ({row.reason}){number}."


def _verdict(row) -> str:
    if row.verdict == OPEN:
        return f"open, leans to {row.leans}: {row.reason}"
    return f"{row.verdict}: {row.reason}" if row.verdict == NOT_TESTABLE else f"**{row.verdict}**"


def _with_interval(row, claim: Claim) -> str:
    ends = "" if pd.isna(row.ci_low) else f" [{_digits(row.ci_low, claim.unit)}, {_digits(row.ci_high, claim.unit)}]"
    return f"{_digits(row.value, claim.unit)}{ends}{_UNITS[claim.unit]}"


def _digits(value: float, unit: str) -> str:
    if unit == "share":
        return f"{100 * value:.1f}"
    return f"{10**value:.2f}" if unit == "times" else f"{value:.3f}"


def _subject(row) -> str:
    """What an estimate is of, in the names of the book."""
    names = NAMES | DATASETS | {ORACLE: "one at random of the class"}
    return ", ".join(" ".join(names.get(word, word) for word in part.split(" ")) for part in row.of.split(", "))


def _link(row, claim: Claim) -> str:
    evidence = _evidence(row, claim)
    return evidence and f"{{{'ref' if evidence.startswith('sec-') else 'numref'}}}`{evidence}`"


def _evidence(row, claim: Claim) -> str:
    return claim.evidence if claim.evidence is not None and pd.notna(row.value) else ""


def _estimates(tables: Tables, name: str, metric: str, paired: bool) -> dict[str, Pooled]:
    """A metric of each method by itself, pooled over seeds; empty where there is no table, or in it nothing learnt."""
    try:
        frame = (learnt_rows if name == "controls" else get_table)(tables, name)
    except NoEstimate:
        return {}
    rows = frame[(frame.metric == metric) & (frame.against == ITSELF) & frame.method.isin(list(NAMES))]
    everywhere = rows.groupby("method").dataset.nunique() == rows.dataset.nunique()
    rows = rows[rows.method.map(everywhere)]  # a mean over other data sets would compare nothing
    means = {method: mean_by_seed(part, paired) for method, part in rows.groupby("method", sort=False)}
    return {method: pool(mean.value, mean.ci_low, mean.ci_high) for method, mean in means.items()}
