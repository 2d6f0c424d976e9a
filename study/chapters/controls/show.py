"""The forest plot of the controls chapter, its table, and the sentences that read them."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import gmean

from study import statistics
from study.chapters.controls.measure import ITSELF
from study.config import Run
from study.pipeline import judging
from study.pipeline.attributions import Attribution
from study.pipeline.baselines import BASELINES
from study.report.colours import COLOURS
from study.report.names import DATASETS, NAMES
from study.report.plot import STYLE, save, within
from study.report.table import Prose, Table, moved, percent, points, times, with_published

COLUMNS_OF_PANELS = 3


def forest_figure(run: Run, frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Figure:
    """RepSim minus each other method and each control, a panel a data set. Leaves fig_controls.*."""
    frame = frame[(frame.method == "repsim") & (frame.against != ITSELF)]
    others = [name for name in NAMES if name in set(frame.against)][::-1]
    datasets = list(frame.dataset.unique())
    columns = min(COLUMNS_OF_PANELS, len(datasets))
    rows = -(-len(datasets) // columns)
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(7.2, 0.7 + 0.19 * len(others) * rows), sharex=True, sharey=True, squeeze=False
        )
        for axis in axes.flat[len(datasets) :]:
            axis.set_visible(False)
        for axis, dataset in zip(axes.flat, datasets, strict=False):
            axis.axvline(0, color="black", linewidth=0.6)
            axis.axhline(sum(name in BASELINES for name in others) - 0.5, color="#CCCCCC", linewidth=0.6)
            for metric, shift, filled in (("coverage", 0.17, True), ("accuracy", -0.17, False)):
                part = frame[(frame.dataset == dataset) & (frame.metric == metric)]
                for place, name in enumerate(others):
                    if (rows_of := part[part.against == name]).empty:
                        continue
                    value, low, high = (100 * each for each in statistics.pooled(rows_of))
                    face = COLOURS[name] if filled else "white"
                    axis.plot([low, high], [place + shift] * 2, color=COLOURS[name], linewidth=1)
                    axis.plot(value, place + shift, marker="o", markersize=3.5, color=COLOURS[name], mfc=face)
            axis.set_title(_title(dataset, attributions))
            axis.set_yticks(range(len(others)), [NAMES[name] for name in others])
        within(axes[0, 0])
        figure.supxlabel("RepSim ahead by (points)", fontsize=9)
        handles = [
            plt.Line2D([], [], marker="o", markersize=3.5, color="black", mfc=face, label=name)
            for name, face in (("coverage", "black"), ("accuracy", "white"))
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
        save(run, "fig_controls", figure, ("controls",))
    return figure


def ahead_table(frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Table:
    """Each method's coverage less that of the best control of each data set."""
    best = {dataset: _best_control(frame, dataset) for dataset in frame.dataset.unique()}
    methods = [name for name in NAMES if name in set(frame.method) - set(BASELINES)]
    rows = [[NAMES[method], *(_cell(frame, dataset, method, best[dataset]) for dataset in best)] for method in methods]
    named = ["*Best control: coverage (%)*"]
    for dataset, control in best.items():
        own = _coverage(frame, dataset, control, ITSELF)
        named.append(with_published(f"*{NAMES[control]}: {percent(own.value.mean())}*", own))
    caption = (
        "Coverage in points above the best control of each data set, with 95 % intervals, paired. The best control is "
        "chosen by the same validation examples, which favours it a little. Bold: ahead; in italics: behind. "
        "†: not learnt."
    )
    header = ["Method", *(_title(dataset, attributions) for dataset in best)]
    return Table(None, caption, header, [named, *rows], frame)


def controls_text(frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Prose:
    """Data set by data set: which controls RepSim beats, and which influence methods beat every control.

    Data sets that the fine-tunes in `attributions` did not learn are left out, and a last sentence says so.
    """
    lines, won = [], []
    unlearnt = [name for name, found in attributions.items() if not _learnt(found)]
    frame = frame[~frame.dataset.isin(unlearnt)]
    for dataset in frame.dataset.unique():
        against = {name: _gap(frame, dataset, "repsim", name) for name in BASELINES}
        won += [dataset] if all(low > 0 for _, low, _ in against.values()) else []
        parts = [
            f"{word} {', '.join(f'{NAMES[name]} ({points(*against[name])})' for name in names)}"
            for word, names in _by_verdict(against).items()
            if names
        ]
        methods = [name for name in NAMES if name in set(frame.method) - set(BASELINES) - {"repsim"}]
        beating = [
            NAMES[method] for method in methods if all(_gap(frame, dataset, method, name)[1] > 0 for name in BASELINES)
        ]
        lines.append(
            f"- {DATASETS[dataset]}: in coverage RepSim {'; '.join(parts)}. Of the influence methods "
            f"{', '.join(beating) or 'none'} {'beats' if len(beating) < 2 else 'beat'} every control."
        )
    total = frame.dataset.nunique()
    head = (
        f"**RepSim beats every control in {len(won)} of {total} data sets"
        + (f" ({', '.join(DATASETS[dataset] for dataset in won)})" if won else "")
        + ".** "
    )
    if len(won) < total:
        head += "Elsewhere its lead in labels is no evidence that it knows of influence: something that never saw the "
        head += "fine-tuned model finds as many, or the examples are too few to tell."
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
    influence, repsim = (wide.xs(name, level="method") for name in ("influence", "repsim"))
    longer, larger = ((influence / repsim)[metric].dropna() for metric in ("seconds", "bytes"))
    whole = (influence.seconds / wide.xs("fine-tune", level="method").seconds).dropna()
    told = f"Gradients and the scores of all methods took {times(gmean(longer))} as long as a forward pass for the "
    told += f"hidden states alone (geometric mean of {len(longer)} data sets), and {gmean(whole):.2f} times as long as "
    told += "the fine-tune. "
    return Prose(f"{told}What is kept to score from is {times(gmean(larger))} as large.")


def _title(dataset: str, attributions: Mapping[str, Attribution]) -> str:
    return DATASETS[dataset] + ("" if _learnt(attributions[dataset]) else " †")


def _learnt(found: Attribution) -> bool:
    return judging.learning(found.dataset, found.train, found.val, found.before, found.after).learnt


def _gap(frame: pd.DataFrame, dataset: str, method: str, against: str) -> tuple[float, float, float]:
    part = _coverage(frame, dataset, method, against)
    return statistics.pooled(part) if len(part) else (float("nan"),) * 3


def _coverage(frame: pd.DataFrame, dataset: str, method: str, against: str) -> pd.DataFrame:
    part = frame[(frame.dataset == dataset) & (frame.metric == "coverage")]
    return part[(part.method == method) & (part.against == against)]


def _best_control(frame: pd.DataFrame, dataset: str) -> str:
    part = frame[(frame.dataset == dataset) & (frame.metric == "coverage") & (frame.against == ITSELF)]
    return part[part.method.isin(BASELINES)].groupby("method", sort=False).value.mean().idxmax()


def _cell(frame: pd.DataFrame, dataset: str, method: str, control: str) -> str:
    value, low, high = _gap(frame, dataset, method, control)
    if pd.isna(value):
        return ""
    text = moved(value, low, high)
    marked = f"**{text}**" if low > 0 else f"*{text}*" if high < 0 else text
    return with_published(marked, _coverage(frame, dataset, method, control))


def _by_verdict(differences: dict[str, tuple[float, float, float]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"beats": [], "trails": [], "is inconclusive against": []}
    for name, (_, low, high) in differences.items():
        found["beats" if low > 0 else "trails" if high < 0 else "is inconclusive against"].append(name)
    return found
