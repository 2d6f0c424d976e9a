"""The forest plot of the controls chapter, its table, and the sentences that read them."""

from collections.abc import Mapping

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import gmean

from study import statistics
from study.config import Run
from study.methods import BASELINES, COLOURS, NAMES
from study.pipeline import judging
from study.pipeline.attributions import Attribution
from study.report.names import DATASETS
from study.report.plot import STYLE, clip_x, save
from study.report.table import Prose, Table, percent, points, points_cell, times, with_published
from study.schema import ITSELF


def forest_figure(run: Run, frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Figure:
    """RepSim minus each other method and each control, a panel a data set. Leaves fig_controls.*."""
    frame = frame[(frame.method == "repsim") & (frame.against != ITSELF)]
    others = [name for name in NAMES if name in set(frame.against)][::-1]
    datasets = list(frame.dataset.unique())
    columns = min(3, len(datasets))
    rows = -(-len(datasets) // columns)
    size = (7.2, 0.7 + 0.19 * len(others) * rows)
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
        for axis in axes.flat[len(datasets) :]:
            axis.set_visible(False)
        for axis, dataset in zip(axes.flat, datasets, strict=False):
            axis.axvline(0, color="black", linewidth=0.6)
            axis.axhline(sum(name in BASELINES for name in others) - 0.5, color="#CCCCCC", linewidth=0.6)
            for metric, shift in (("coverage", 0.17), ("accuracy", -0.17)):
                part = frame[(frame.dataset == dataset) & (frame.metric == metric)]
                for name, gaps in sorted(part.groupby("against"), key=lambda group: others.index(group[0])):
                    value, low, high = (100 * end for end in statistics.pooled(gaps))
                    y, colour = others.index(name) + shift, COLOURS[name]
                    axis.plot([low, high], [y, y], color=colour, linewidth=1)
                    face = colour if metric == "coverage" else "white"
                    axis.plot(value, y, marker="o", markersize=3.5, color=colour, mfc=face)
            axis.set_title(_title(dataset, attributions))
            axis.set_yticks(range(len(others)), [NAMES[name] for name in others])
        clip_x(axes[0, 0])
        figure.supxlabel("RepSim ahead by (points)", fontsize=9)
        handles = [
            plt.Line2D([], [], marker="o", markersize=3.5, color="black", mfc=face, label=metric)
            for metric, face in (("coverage", "black"), ("accuracy", "white"))
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
        save(run, "fig_controls", figure, ("controls",))
    return figure


def ahead_table(frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Table:
    """Each method's coverage less that of the best control of each data set."""
    best = {dataset: _best_control(frame, dataset) for dataset in frame.dataset.unique()}
    rows = [["*Best control: coverage (%)*"]]
    for dataset, control in best.items():
        values = _coverage(frame, dataset, control, ITSELF)
        rows[0].append(with_published(f"*{NAMES[control]}: {percent(values.value.mean())}*", values))
    for method in _methods(frame):
        gaps = (_coverage(frame, dataset, method, control) for dataset, control in best.items())
        rows.append([NAMES[method], *map(_gap_cell, gaps)])
    caption = (
        "Coverage in points above the best control of each data set, with 95 % intervals, paired. The best control is "
        "chosen by the same validation examples, which favours it a little. Bold: ahead; in italics: behind. "
        "†: not learnt."
    )
    return Table(None, caption, ["Method", *(_title(dataset, attributions) for dataset in best)], rows, frame)


def controls_text(frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Prose:
    """Data set by data set: which controls RepSim beats, and which influence methods beat every control.

    Data sets that the fine-tunes in `attributions` did not learn are left out, and a last sentence says so.
    """
    unlearnt = [name for name, attribution in attributions.items() if not _learnt(attribution)]
    frame = frame[~frame.dataset.isin(unlearnt)]
    lines, won, total = [], [], frame.dataset.nunique()
    for dataset in frame.dataset.unique():
        gaps = {method: [_gap(frame, dataset, method, name) for name in BASELINES] for method in _methods(frame)}
        winners = [NAMES[method] for method in gaps if all(low > 0 for _, low, _ in gaps[method])]
        if NAMES["repsim"] in winners:
            winners.remove(NAMES["repsim"])
            won.append(DATASETS[dataset])
        lines.append(
            f"- {DATASETS[dataset]}: in coverage RepSim {_repsim_text(frame, dataset)}. Of the influence methods "
            f"{', '.join(winners) or 'none'} {'beats' if len(winners) < 2 else 'beat'} every control."
        )
    names = f" ({', '.join(won)})" if won else ""
    head = f"**RepSim beats every control in {len(won)} of {total} data sets{names}.** "
    if len(won) < total:
        head += (
            "Elsewhere its lead in labels is no evidence that it knows of influence: something that never saw the "
            "fine-tuned model finds as many, or the examples are too few to tell."
        )
    elif total:
        head += "So its lead is not the topic's alone."
    else:
        head = "No task was learnt, so that this run decides nothing."
    if unlearnt:
        lines += ["", f"Of {', '.join(DATASETS[name] for name in unlearnt)} nothing is said: not learnt."]
    return Prose("\n".join([head, "", *lines]))


def costs_text(frame: pd.DataFrame) -> Prose:
    """How much longer gradients and their scores take than the hidden states alone, and how much more they keep."""
    wide = frame.groupby(["dataset", "method", "metric"]).value.mean().unstack("metric")
    tuning, influence, repsim = (wide.xs(name, level="method") for name in ("fine-tune", "influence", "repsim"))
    longer, larger = ((influence / repsim)[metric].dropna() for metric in ("seconds", "bytes"))
    share = gmean((influence.seconds / tuning.seconds).dropna())
    return Prose(
        f"Gradients and the scores of all methods took {times(gmean(longer))} as long as a forward pass for the "
        f"hidden states alone (geometric mean of {len(longer)} data sets), and {share:.2f} times as long as the "
        f"fine-tune. What is kept to score from is {times(gmean(larger))} as large."
    )


def _methods(frame: pd.DataFrame) -> list[str]:
    return [name for name in NAMES if name in set(frame.method) - set(BASELINES)]


def _title(dataset: str, attributions: Mapping[str, Attribution]) -> str:
    return DATASETS[dataset] + ("" if _learnt(attributions[dataset]) else " †")


def _learnt(tuned: Attribution) -> bool:
    return judging.learning(tuned.dataset, tuned.train, tuned.val, tuned.before, tuned.after).learnt


def _coverage(frame: pd.DataFrame, dataset: str, method: str, against: str) -> pd.DataFrame:
    part = frame[(frame.dataset == dataset) & (frame.metric == "coverage")]
    return part[(part.method == method) & (part.against == against)]


def _gap(frame: pd.DataFrame, dataset: str, method: str, control: str) -> tuple[float, float, float]:
    return statistics.pooled(_coverage(frame, dataset, method, control))


def _best_control(frame: pd.DataFrame, dataset: str) -> str:
    part = frame[(frame.dataset == dataset) & (frame.metric == "coverage") & (frame.against == ITSELF)]
    return part[part.method.isin(BASELINES)].groupby("method", sort=False).value.mean().idxmax()


def _gap_cell(gaps: pd.DataFrame) -> str:
    if gaps.empty:
        return ""
    value, low, high = statistics.pooled(gaps)
    text = points_cell(value, low, high)
    return with_published(f"**{text}**" if low > 0 else f"*{text}*" if high < 0 else text, gaps)


def _repsim_text(frame: pd.DataFrame, dataset: str) -> str:
    """The controls that RepSim beats, trails, or cannot be told from, each with the difference."""
    controls: dict[str, list[str]] = {"beats": [], "trails": [], "is inconclusive against": []}
    for name in BASELINES:
        value, low, high = _gap(frame, dataset, "repsim", name)
        verdict = "beats" if low > 0 else "trails" if high < 0 else "is inconclusive against"
        controls[verdict].append(f"{NAMES[name]} ({points(value, low, high)})")
    return "; ".join(f"{verdict} {', '.join(names)}" for verdict, names in controls.items() if names)
