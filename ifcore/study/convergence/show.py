"""Figure 5, and the sentences that read it."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from ifcore.study.config import Run
from ifcore.study.convergence.measure import agreement, trends
from ifcore.study.paper import paper
from ifcore.study.show.colours import COLOURS
from ifcore.study.show.names import DATASETS, NAMES
from ifcore.study.show.plot import STYLE, band, draw, grid, losses, save
from ifcore.study.show.table import Prose, slope_text


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
    expected = paper()["figure5"]
    lines = []
    for dataset in frame.dataset.unique():
        lines.append(
            f"- {DATASETS[dataset]}, where in the paper the accuracy of influence functions {expected[dataset]}."
        )
        for metric in ("accuracy", "coverage"):
            found = trends(frame[frame.dataset == dataset], metric).set_index("method")
            parts = [
                f"{NAMES[method]} {_direction(row)}, from {row['first']:.0f} to {row['last']:.0f} % "
                f"({slope_text(row.value, row.ci_low, row.ci_high)})"
                for method, row in found.iterrows()
                if method in ("datainf", "gradsim", "exact", "repsim")
            ]
            lines.append(f"  {metric.capitalize()}: {'; '.join(parts)}.")
    lines.append("")
    lines.append(
        "In brackets: the slope from the first trained checkpoint on, in points per 10 steps, with its 95 % interval "
        "over checkpoints."
    )
    lines.append("")
    if {"datainf", "gradsim"} <= set(frame.method):
        correlation, gap = agreement(frame, "datainf", "gradsim")
        lines.append(
            "- *Changes of influence functions closely follow those of gradient similarity*: from one trained "
            "checkpoint to the next the accuracies of DataInf and GradSim change with a correlation of "
            f"{correlation:.2f}, and they are {gap * 100:.1f} points apart on average."
        )
    stable = frame[frame.metric == "stability"].groupby("method", sort=False).value.agg(["mean", "min"])
    said = ", ".join(f"{NAMES[m]} {row['mean']:.2f} (lowest {row['min']:.2f})" for m, row in stable.iterrows())
    lines.append(
        f"- *Instability*: the rank correlation of a checkpoint's scores with those of the checkpoint before is, on "
        f"average, {said}."
    )
    return Prose("\n".join(lines))


def _direction(row: pd.Series) -> str:
    """By the interval of the slope; where there is none, or it holds 0, there is no trend to speak of."""
    if row.ci_low > 0:
        return "rises"
    return "drops" if row.ci_high < 0 else "shows no clear trend"
