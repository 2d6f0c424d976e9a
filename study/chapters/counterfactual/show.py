"""The figures and tables of the counterfactual chapter, and the sentences that read them."""

from collections.abc import Iterable, Sequence
from functools import partial
from math import inf
from operator import itemgetter

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from ifcore.judge import CEILING
from study import statistics
from study.config import Run
from study.methods import COLOURS, CONTROLS, LEFT_OUT, NAMES, OF_TEXTS, ORACLE
from study.report.names import DATASETS
from study.report.plot import DOT, draw_interval, handle, save, with_style
from study.report.table import Prose, Table, control_cell, interval, significant, whole, with_published
from study.schema import ITSELF
from study.statistics import Estimate

_ROWS = NAMES | {ORACLE: "Oracle"}
_LEFT_TO_THE_TABLE = ("repsim_prompt", "random", "lissa_once")
_pooled = partial(statistics.pooled, least=-inf, most=inf)  # a loss need not stay below 1


@with_style
def judged_figure(run: Run, lds: pd.DataFrame, removal: pd.DataFrame) -> Figure:
    """Each method and baseline in labels, in the linear datamodeling score with its ceiling, and in removal; a mark a
    data set, means over seeds. Leaves fig_counterfactual.*."""
    shown = _names(lds[lds.metric == "lds"])
    names = [name for name in (LEFT_OUT, *NAMES) if name in shown and name not in _LEFT_TO_THE_TABLE]
    names = list(dict.fromkeys(names))[::-1]
    parts = (  # title, scale, rows
        ("coverage, labels (%)", 100, lds[lds.metric == "coverage"]),
        ("linear datamodeling score", 1, lds[lds.metric == "lds"]),
        ("rise of the loss after\nremoval (nats per token)", 1, removal[removal.metric == "rise"]),
    )
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 0.8 + 0.19 * len(names)), sharey=True)
    marks = dict(zip(lds.dataset.unique(), ("o", "s", "^", "D"), strict=False))
    for axis, (title, scale, rows) in zip(axes, parts, strict=True):
        axis.axhline(sum(name in CONTROLS for name in names) - 0.5, color="#CCCCCC", linewidth=0.6)
        for (dataset, method), part in rows[rows.against == ITSELF].groupby(["dataset", "method"]):
            value, low, high = (scale * end for end in _pooled(part))
            if method in (CEILING, ORACLE):
                axis.axvline(value, color="black", linewidth=0.8, linestyle=":", zorder=0)
                axis.plot(value, len(names), **DOT | {"marker": marks[dataset], "mfc": "white"})
            elif method in names:
                style = {"marker": marks[dataset], "color": COLOURS[method]}
                draw_interval(axis, names.index(method), (value, low, high), linewidth=0.4, **style)
        axis.set_xlabel(title)
        axis.set_yticks(range(len(names) + 1), [*(NAMES[name] for name in names), "Ceiling, oracle"])
    axes[1].axvline(0, color="black", linewidth=0.6)
    handles = [handle(DATASETS[name], marker=mark) for name, mark in marks.items()]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles), frameon=False)
    return save(run, "fig_counterfactual", figure, ("lds", "removal"))


def judged_text(named: str, lds: pd.DataFrame, removal: pd.DataFrame) -> Prose:
    """What the method that was named beforehand does in prediction and in removal, beside RepSim, what the label knows
    and what reading the texts tells."""
    scores = lds[lds.metric == "lds"]
    text = max((name for name in OF_TEXTS if name in set(scores.method)), key=lambda name: _mean(scores, name))
    leads = {
        other: [_estimate(rows, named, other) for _, rows in scores.groupby("dataset", sort=False)]
        for other in ("repsim", text)
    }
    rises = {other: [_estimate(removal[removal.metric == "rise"], named, other)] for other in ("repsim", ORACLE)}
    rise = significant(_estimate(removal[removal.metric == "rise"], named, ITSELF)[0])
    answer = (
        f"**In predicting retraining {NAMES[named]}, named beforehand, is {_standing(leads['repsim'])} RepSim and "
        f"{_standing(leads[text])} {NAMES[text]}, the best that reads the texts alone. Without what it ranks highest "
        f"the loss rises by {rise} nats: it is {_standing(rises['repsim'])} RepSim's choice and "
        f"{_standing(rises[ORACLE])} random harmful examples.**"
    )
    lines = [answer, ""]
    for dataset, rows in scores.groupby("dataset", sort=False):
        values = {NAMES[name]: _correlation(_estimate(rows, name, ITSELF)) for name in (named, "repsim", text)}
        values["ceiling"] = _correlation(_pooled(rows[rows.method == CEILING]))
        lines.append(f"- {DATASETS[dataset]}: {'; '.join(f'{name} {value}' for name, value in values.items())}.")
    return Prose("\n".join(lines))


def definition_text(lds: pd.DataFrame) -> Prose:
    """What is lost by approximating influence, and what by its definition: methods at the damping that suits each, and,
    where they were computed, the derivative of the fine-tune as it ran and leaving out one example at a time."""
    tuned, first = (lds[lds.metric == metric] for metric in ("lds_tuned", "lds_first"))
    lines = []
    for dataset, rows in tuned.groupby("dataset", sort=False):
        values = ", ".join(f"{NAMES[name]} {_correlation(_estimate(rows, name, ITSELF))}" for name in _names(rows))
        gaps = ", ".join(
            f"{NAMES[other]} {_correlation(_estimate(rows, 'exact', other))}"
            for other in _names(rows)
            if other != "exact"
        )
        lines.append(
            f"- {DATASETS[dataset]}, each at the damping that is best on other halves: {values}. Exact less {gaps}."
        )
    for dataset, rows in first.groupby("dataset", sort=False):
        wanted = [name for name in ("unrolled", LEFT_OUT, "exact", "tracin") if name in set(rows.method)]
        values = ", ".join(f"{NAMES[name]} {_correlation(_estimate(rows, name, ITSELF))}" for name in wanted)
        lines.append(
            f"- {DATASETS[dataset]}, the explained examples for which the fine-tune was differentiated: {values}."
        )
    return Prose("\n".join(lines))


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
        rows.append(list(map(control_cell, cells)) if method in CONTROLS else cells)
    caption = (
        f"Without the training examples that a method ranks highest, of {frame.n_train.iloc[0]}: how many of them are "
        "harmful (percent), and by how much the loss of the held-out harmful requests rises (nats per response token); "
        "95 % intervals over requests; with several seeds, over seeds. Random and the oracle are means of their draws."
    )
    header = ["Removed by", *(title for count in counts for title in (f"{count}: harmful", "rise"))]
    return Table(None, caption, header, rows, frame, folded="What each removes, and what that does, in numbers")


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
            f"baseline. The largest rise among methods is {NAMES[best]}'s, {significant(largest)} nats, by its "
            f"interval ahead of {_listed(behind) or 'no other'}. The oracle's is {significant(oracle)}, {compared} "
            "that."
        )
    return Prose("\n".join(lines))


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
            f"baseline; the highest score is {NAMES[best]}'s, {_correlation(_estimate(scores, best, ITSELF))}"
        )
        line += f" (as high: {_listed(ties)})" if ties else ""
        lines.append(line + ".")
    return Prose("\n".join(lines))


def left_out_text(frame: pd.DataFrame) -> Prose:
    """Scores against leaving out one example at a time, where that was done."""
    rows = frame[frame.metric == "loo"]
    if rows.empty:
        return Prose("In this profile no example is left out by itself; the profile `evening` leaves out each.")
    estimates = {_ROWS[name]: _estimate(rows, name, ITSELF) for name in _names(rows)}
    best = max(estimates, key=lambda name: estimates[name][0])
    above = ", ".join(name for name, (_, low, _) in estimates.items() if low > 0)
    return Prose(
        "**One at a time.** Of the rank correlations with the rise of an explained example's loss without one training "
        f"example, {best}'s is the highest: {_correlation(estimates[best])}. Clearly above 0: {above or 'none'}."
    )


def _standing(leads: Sequence[Estimate]) -> str:
    """How a method stands to another by how far it is ahead, in all of the data sets: ends before the other's name."""
    ahead, behind = sum(low > 0 for _, low, _ in leads), sum(high < 0 for _, _, high in leads)
    if len(leads) == 1:
        return "ahead of" if ahead else "behind" if behind else "no different from"
    if max(ahead, behind) == len(leads):
        return "on every data set ahead of" if ahead else "on every data set behind"
    if not ahead + behind:
        return "on no data set different from"
    if not (ahead and behind):
        return f"on {ahead or behind} of {len(leads)} data sets {'ahead of' if ahead else 'behind'}"
    return f"on {ahead} of {len(leads)} data sets ahead of, and on {behind} behind,"


def _mean(rows: pd.DataFrame, method: str) -> float:
    return float(rows[(rows.method == method) & (rows.against == ITSELF)].value.mean())


def _counts(frame: pd.DataFrame) -> list[int]:
    return sorted(set(frame.removed) - {0})


def _names(frame: pd.DataFrame) -> list[str]:
    return [name for name in _ROWS if name in set(frame.method)]


def _methods(frame: pd.DataFrame) -> list[str]:
    return [name for name in NAMES if name in set(frame.method) and name not in CONTROLS]


def _ahead_of_baselines(rows: pd.DataFrame) -> list[str]:
    baselines = [name for name in CONTROLS if name in set(rows.method)]
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
