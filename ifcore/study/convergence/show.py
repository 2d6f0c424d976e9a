"""Figure 5, and the sentences that read it."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from ifcore.study.config import Run
from ifcore.study.convergence.measure import agreement, trends
from ifcore.study.paper import stated
from ifcore.study.show.colours import COLOURS
from ifcore.study.show.names import DATASETS, NAMES
from ifcore.study.show.plot import STYLE, band, draw, grid, losses, save
from ifcore.study.show.table import Prose, decided, interval, points


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
        axes[2, 0].set_ylim(min(0, axes[2, 0].get_ylim()[0]), 1.04)
        axes[3, 0].set_ylabel("loss (nats per\nresponse token)")
        axes[3, 0].set_ylim(0, axes[3, 0].get_ylim()[1])
        handles = [axes[0, 0].get_legend_handles_labels(), axes[3, 0].get_legend_handles_labels()]
        handles = [first + second for first, second in zip(*handles, strict=True)]
        figure.legend(*handles, loc="outside upper center", ncols=6, frameon=False, columnspacing=1.2)
        save(run, "fig5_convergence", figure)
    return figure


def convergence_text(frame: pd.DataFrame) -> Prose:
    """Whether accuracy falls or rises along fine-tuning, data set by data set, as Figure 5 has it."""
    lines = []
    for dataset in frame.dataset.unique():
        expected = stated("figure5", dataset)
        lines.append(f"- {DATASETS[dataset]}, where in the paper the accuracy of influence functions {expected}.")
        for metric in ("accuracy", "coverage"):
            found = trends(frame[frame.dataset == dataset], metric).set_index("method")
            parts = [f"{NAMES[method]} {_direction(row)}" for method, row in found.iterrows() if method in _FOLLOWED]
            lines.append(f"  {metric.capitalize()}: {'; '.join(parts)}.")
    several = frame.seed.nunique() > 1
    over = f"over {frame.seed.nunique()} seeds" if several else "over validation examples, each against itself"
    lines += ["", f"In brackets: 95 % intervals {over}, from the first trained checkpoint to the last."]
    if not several:
        lines[-1] += (
            " The slopes have none: the few checkpoints of one training follow from each other, and are no sample."
        )
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
            f"{NAMES[method]} {row.untouched * 100:.0f} %, and fine-tuning: "
            f"{decided(*row.taught[1:], 'adds to it', 'takes from it')} ({points(*row.taught)})"
            for method, row in found.iterrows()
            if method in _FOLLOWED and not pd.isna(row.untouched)
        ]
        lines.append(f"- {DATASETS[dataset]}, coverage at step 0: {'; '.join(parts)}.")
    return Prose("\n".join(lines))


_FOLLOWED = ("datainf", "gradsim", "exact", "repsim")


def _direction(row: pd.Series) -> str:
    """By the interval of the change; where it holds 0, or there is none, it is inconclusive."""
    if pd.isna(row.change[0]):
        return f"is {row['last'] * 100:.0f} % at the one trained checkpoint"
    slope, low, high = (round(each * 100, 1) + 0 for each in row.slope)
    return (
        f"{decided(*row.change[1:], 'rises', 'drops')}, from {row['first'] * 100:.0f} to {row['last'] * 100:.0f} % "
        f"({points(*row.change)}; slope {slope:+.1f}{interval(low, high)} per 10 steps)"
    )
