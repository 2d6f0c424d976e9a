"""Figure 5, and the sentences that read it."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from study.chapters.convergence.measure import agreement, trends
from study.config import Run
from study.paper import stated
from study.report.colours import COLOURS
from study.report.names import DATASETS, NAMES
from study.report.plot import STYLE, band, draw, grid, losses, save
from study.report.table import Prose, Table, decided, interval, moved, points


def convergence_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 5: the methods and the loss along fine-tuning, a column a data set. Leaves fig5_convergence.*."""
    methods = [method for method in ("repsim", "gradsim", "datainf", "exact") if method in set(frame.method)]
    titles = {
        "accuracy": "accuracy (%)",
        "coverage": "coverage (%)",
        "stability": "rank correlation with\nthe one before",
    }
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(frame.dataset.nunique(), 4)
        for column, (dataset, part) in enumerate(frame.groupby("dataset", sort=False)):
            for row, (metric, title) in enumerate(titles.items()):
                scale = 1 if metric == "stability" else 100
                for method in methods:
                    each = part[(part.method == method) & (part.metric == metric)]
                    draw(axes[row, column], band(each, "step"), COLOURS[method], NAMES[method], scale)
                axes[row, 0].set_ylabel(title)
            losses(axes[3, column], part, "step")
            axes[0, column].set_title(DATASETS[dataset])
            axes[3, column].set_xlabel("step")
        axes[0, 0].set_ylim(0, 104), axes[1, 0].set_ylim(0, 104)
        axes[2, 0].set_ylim(max(-1.04, min(0, axes[2, 0].get_ylim()[0])), 1.04)
        axes[3, 0].set_ylabel("loss (nats per\nresponse token)")
        axes[3, 0].set_ylim(0, 1.05 * axes[3, 0].get_ylim()[1])
        handles = [axes[0, 0].get_legend_handles_labels(), axes[3, 0].get_legend_handles_labels()]
        handles = [first + second for first, second in zip(*handles, strict=True)]
        figure.legend(*handles, loc="outside upper center", ncols=6, frameon=False, columnspacing=1.2)
        save(run, "fig5_convergence", figure)
    return figure


def trends_table(frame: pd.DataFrame) -> Table:
    """Behind Figure 5: from the first trained checkpoint to the last, a row a method. From fig5_convergence.csv."""
    of = {metric: trends(frame, metric).set_index(["dataset", "method"]) for metric in ("accuracy", "coverage")}
    rows = []
    for dataset, method in of["accuracy"].index:
        if method in _FOLLOWED:
            cells = [cell for found in of.values() for cell in _moved(found.loc[(dataset, method)])]
            rows.append([DATASETS[dataset], NAMES[method], *cells])
    several = frame.seed.nunique() > 1
    over = f"over {frame.seed.nunique()} seeds" if several else "over validation examples, each against itself"
    caption = (
        "From the first trained checkpoint to the last: the value at both (percent), the change (points) with its 95 % "
        f"interval {over}, and the slope over all trained checkpoints (points per 10 steps)."
    )
    if not several:
        caption += " The slope has no interval: the few checkpoints of one training follow from each other."
    header = ["Task", "Method", *(f"{part}, {each}" for part in ("Accuracy", "Coverage") for each in _MOVED)]
    return Table(None, caption, header, rows, frame)


def convergence_text(frame: pd.DataFrame) -> Prose:
    """Whether accuracy falls or rises along fine-tuning, data set by data set, as Figure 5 has it."""
    lines = []
    for dataset in frame.dataset.unique():
        line = f"- {DATASETS[dataset]}: in the paper the accuracy of influence functions {stated('figure5', dataset)}."
        for metric, start in (("accuracy", "Here accuracy"), ("coverage", "Coverage")):
            found = trends(frame[frame.dataset == dataset], metric).set_index("method")
            said: dict[str, list[str]] = {"rises": [], "drops": [], "inconclusive": []}
            for method, row in found.iterrows():
                if method in _FOLLOWED:
                    said[decided(*row.change[1:], "rises", "drops")].append(NAMES[method])
            told = [f"{word} for {', '.join(said[word])}" for word in ("rises", "drops") if said[word]]
            if open_ := said["inconclusive"]:
                told.append(f"may go either way for {', '.join(open_)}")
            line += f" {start} {'; '.join(told)}."
        lines.append(line)
    lines.append("")
    if {"datainf", "gradsim"} <= set(frame.method):
        (correlation, low, high), gap = agreement(frame, "datainf", "gradsim")
        moved = "one of the two accuracies does not change from one trained checkpoint to the next"
        if not pd.isna(correlation):
            moved = (
                "from one trained checkpoint to the next the accuracies of DataInf and GradSim change with a "
                f"correlation of {correlation:.2f}{interval(low, high)} (over data sets)"
            )
        lines.append(
            "- *Changes of influence functions closely follow those of gradient similarity*, "
            f"{decided(low, high, 'holds here', 'does not hold here')}: {moved}; they are {gap * 100:.1f} points apart "
            "on average."
        )
    stable = frame[frame.metric == "stability"].groupby("method", sort=False).value.agg(["mean", "min"])
    said = ", ".join(f"{NAMES[m]} {row['mean']:.2f} (lowest {row['min']:.2f})" for m, row in stable.iterrows())
    lines.append(
        f"- *Instability*: the rank correlation of a checkpoint's scores with those of the checkpoint before is, on "
        f"average, {said}."
    )
    return Prose("\n".join(lines))


def control_text(frame: pd.DataFrame) -> Prose:
    """What each method finds at step 0, before any training example was seen, and what fine-tuning adds to it."""
    lines = []
    for dataset in frame.dataset.unique():
        found = trends(frame[frame.dataset == dataset], "coverage").set_index("method")
        parts = [
            f"{NAMES[method]} {row.untouched * 100:.0f} % ("
            f"{_TAUGHT[decided(*row.taught[1:], 'adds', 'takes')]}: {points(*row.taught)})"
            for method, row in found.iterrows()
            if method in _FOLLOWED and not pd.isna(row.untouched)
        ]
        lines.append(f"- {DATASETS[dataset]}, coverage at step 0: {'; '.join(parts)}.")
    return Prose("\n".join(lines))


_FOLLOWED = ("datainf", "gradsim", "exact", "repsim")
_TAUGHT = {
    "adds": "fine-tuning adds to it",
    "takes": "fine-tuning takes from it",
    "inconclusive": "what fine-tuning adds is inconclusive",
}
_MOVED = ("from, to (%)", "change", "slope")


def _moved(row: pd.Series) -> list[str]:
    """The cells of one metric; empty but for the value where there is one trained checkpoint."""
    if pd.isna(row.change[0]):
        return [f"{row['last'] * 100:.0f}", "", ""]
    slope, least, most = (round(each * 100, 1) + 0 for each in row.slope)
    return [
        f"{row['first'] * 100:.0f}, {row['last'] * 100:.0f}",
        moved(*row.change),
        f"{slope:+.1f}" + ("" if pd.isna(least) else f"<br>[{least:.1f}, {most:.1f}]"),
    ]
