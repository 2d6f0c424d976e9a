"""The figures and tables of the counterfactual chapter, and the sentences that read them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import inf
from operator import itemgetter

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ifcore.judge import CEILING
from study import statistics
from study.chapters.counterfactual.measure import ORACLE
from study.config import Run
from study.methods import BASELINES, COLOURS, NAMES
from study.report.names import DATASETS
from study.report.plot import Interval, forest, save, with_style
from study.report.table import Prose, Table, control_cell, interval, significant, whole, with_published
from study.schema import ITSELF
from study.statistics import Estimate

_ROWS = NAMES | {ORACLE: "Oracle"}
_pooled = partial(statistics.pooled, least=-inf, most=inf)  # a loss need not stay below 1


@with_style
def removal_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """How far the held-out loss rises without what each method ranks highest, a panel a count. Leaves fig_removal.*."""
    rises = frame[frame.metric == "rise"]
    parts = {f"without {count} of {frame.n_train.iloc[0]}": rises[rises.removed == count] for count in _counts(frame)}
    figure, _ = _forest(frame, parts, "rise of the held-out loss (nats per token)", _pooled)
    return save(run, "fig_removal", figure, ("removal",))


def removal_table(frame: pd.DataFrame) -> Table:
    """What is removed, and what that does to the loss. From removal.csv."""
    counts, rows = _counts(frame), []
    for method in _names(frame):
        estimates = frame[(frame.method == method) & (frame.against == ITSELF)]
        cells = [_ROWS[method]]
        for count in counts:
            part = estimates[estimates.removed == count]
            share, rise = (part[part.metric == metric] for metric in ("found", "rise"))
            cells.append(with_published(whole(_pooled(share)[0]), share, write=whole))
            value, low, high = (round(number, 2) + 0 for number in _pooled(rise))  # + 0: no minus before a zero
            cell = f"{value:+.2f}{interval(low, high)}".replace(" [", "<br>[")
            cells.append(with_published(cell, rise, write="{:.2f}".format))
        rows.append(list(map(control_cell, cells)) if method in BASELINES else cells)
    caption = (
        f"Without the training examples that a method ranks highest, of {frame.n_train.iloc[0]}: how many of them are "
        "harmful (percent), and by how much the loss of the held-out harmful requests rises (nats per response token); "
        "95 % intervals over requests; of several seeds, over these. Random and the oracle are means of their draws."
    )
    header = ["Removed by", *(title for count in counts for title in (f"{count}: harmful", "rise"))]
    return Table(None, caption, header, rows, frame)


def removal_text(frame: pd.DataFrame) -> Prose:
    """Count by count: which methods remove more than every baseline, and how far the best is ahead of the others."""
    lines = []
    for count in _counts(frame):
        rises = frame[(frame.metric == "rise") & (frame.removed == count)]
        values = {name: _estimate(rises, name, ITSELF)[0] for name in _methods(rises)}
        best, largest = max(values.items(), key=itemgetter(1))
        behind = [name for name in values if name != best and _estimate(rises, best, name)[1] > 0]
        oracle = _estimate(rises, ORACLE, ITSELF)[0]
        compared = "more than" if oracle > largest else "as much as" if oracle == largest else "less than"
        lines.append(
            f"- Of {count} removed: {_subject(_ahead_of_baselines(rises), 'raise')} the loss by more than every "
            f"control. The largest rise among methods is {NAMES[best]}'s, {significant(largest)} nats, by its interval "
            f"ahead of {_listed(behind) or 'no other'}. The oracle's is {significant(oracle)}, {compared} that."
        )
    return Prose("\n".join(lines))


@with_style
def lds_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """The linear datamodeling score of each method, a panel a data set. Leaves fig_lds.*."""
    scores = frame[frame.metric == "lds"].groupby("dataset", sort=False)
    parts = {DATASETS[dataset]: rows for dataset, rows in scores}
    figure, axes = _forest(frame, parts, "linear datamodeling score", statistics.pooled)
    for axis, rows in zip(axes.flat, parts.values(), strict=False):
        ceiling = rows[rows.method == CEILING]
        if len(ceiling):  # under the intervals
            axis.axvline(ceiling.value.mean(), color="black", linewidth=0.8, linestyle=":", zorder=1.9)
    return save(run, "fig_lds", figure, ("lds",))


def lds_text(frame: pd.DataFrame) -> Prose:
    """Data set by data set: which methods predict retraining better than every baseline; RepSim beside them."""
    lines = []
    for dataset in frame.dataset.unique():
        scores = frame[(frame.dataset == dataset) & (frame.metric == "lds")]
        values = {name: _estimate(scores, name, ITSELF)[0] for name in _methods(scores)}
        best, highest = max(values.items(), key=itemgetter(1))
        ties = [name for name in values if name != best and round(values[name], 2) == round(highest, 2)]
        line = (
            f"- {DATASETS[dataset]}: {_subject(_ahead_of_baselines(scores), 'predict')} retraining better than every "
            f"control; the highest score is {NAMES[best]}'s, {_correlation(_estimate(scores, best, ITSELF))}"
        )
        line += f" (as high: {_listed(ties)})" if ties else ""
        if "repsim" not in (best, *ties):
            line += f", and RepSim has {_correlation(_estimate(scores, 'repsim', ITSELF))}"
        ceiling = scores[scores.method == CEILING]
        if len(ceiling):
            line += f". Another seed's losses on the same halves have {_correlation(statistics.pooled(ceiling))}"
            line += ", the ceiling" if ceiling.value.mean() > highest else ", less than that"
        lines.append(line + ".")
    return Prose("\n".join(lines))


def left_out_text(frame: pd.DataFrame) -> Prose:
    """Scores against leaving out one example at a time, where that was done."""
    rows = frame[frame.metric == "loo"]
    if rows.empty:
        return Prose("In this profile no example is left out by itself; the profile `evening` leaves out each.")
    estimates = {_ROWS[name]: _estimate(rows, name, ITSELF) for name in _names(rows)}
    correlations = "; ".join(f"{name} {_correlation(estimate)}" for name, estimate in estimates.items())
    above = ", ".join(name for name, (_, low, _) in estimates.items() if low > 0)
    return Prose(
        "**One at a time.** Mean rank correlation of a score with the rise of an explained example's loss without one "
        f"training example: {correlations}. Above 0 by the interval: {above or 'none'}."
    )


def answer_text(removal: pd.DataFrame, lds: pd.DataFrame) -> Prose:
    """Which methods do both: predict retraining and find what to remove, better than every baseline."""
    tables = [removal[(removal.metric == "rise") & (removal.removed == count)] for count in _counts(removal)]
    tables += [lds[(lds.dataset == dataset) & (lds.metric == "lds")] for dataset in lds.dataset.unique()]
    ahead = [name for name in _methods(tables[0]) if all(name in _ahead_of_baselines(table) for table in tables)]
    seeds = removal.seed.nunique() if "seed" in removal else 1
    scope = "In this seed" if seeds == 1 else f"Over {seeds} seeds"
    verdict = f"{_listed(ahead)} beat" if ahead else "no method is ahead of"
    return Prose(f"**{scope} {verdict} every control in all of this page's comparisons.**")


def _forest(
    frame: pd.DataFrame, parts: Mapping[str, pd.DataFrame], label: str, pool: Callable[[pd.DataFrame], Estimate]
) -> tuple[Figure, np.ndarray]:
    """A panel for each of `parts`, with what each method and baseline of `frame` has by itself."""
    names, panels = _names(frame)[::-1], dict[str, list[Interval]]()
    for title, part in parts.items():
        rows = dict(list(part[part.against == ITSELF].groupby("method")))
        panels[title] = [
            (place, pool(rows[name]), {"color": COLOURS.get(name, "black")})
            for place, name in enumerate(names)
            if name in rows
        ]
    figure, axes = forest(panels, [_ROWS[name] for name in names], label)
    axes[0, 0].set_ylim(-0.6, len(names) - 0.4)
    return figure, axes


def _counts(frame: pd.DataFrame) -> list[int]:
    return sorted(set(frame.removed) - {0})


def _names(frame: pd.DataFrame) -> list[str]:
    return [name for name in _ROWS if name in set(frame.method)]


def _methods(frame: pd.DataFrame) -> list[str]:
    return [name for name in NAMES if name in set(frame.method) and name not in BASELINES]


def _ahead_of_baselines(rows: pd.DataFrame) -> list[str]:
    baselines = [name for name in BASELINES if name in set(rows.method)]
    return [name for name in _methods(rows) if all(_estimate(rows, name, other)[1] > 0 for other in baselines)]


def _estimate(rows: pd.DataFrame, method: str, against: str) -> Estimate:
    return _pooled(rows[(rows.method == method) & (rows.against == against)])


def _correlation(estimate: Estimate) -> str:
    """With its interval, which of few seeds may be longer than a correlation can be."""
    value, low, high = estimate
    return f"{value:.2f}{interval(max(low, -1), min(high, 1))}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_ROWS[name] for name in names)


def _subject(names: Sequence[str], verb: str) -> str:
    return f"{_listed(names) or 'no method'} {verb}{'' if len(names) > 1 else 's'}"
