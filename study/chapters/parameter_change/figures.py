"""Section 4.3's figures."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from study.chapters.parameter_change.measure import learning
from study.config import Run
from study.report.colours import COLOURS
from study.report.names import DATASETS, NAMES
from study.report.plot import STYLE, band, draw, grid, losses, panels, save


def drift_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 6: parameter change, loss and task accuracy over epochs, a column a data set. Leaves fig6_drift.*."""
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(frame.dataset.nunique(), 3)
        for column, (dataset, part) in enumerate(frame.groupby("dataset", sort=False)):
            draw(axes[0, column], band(part[part.metric == "delta"], "epoch"), "black", "‖Δθ‖")
            losses(axes[1, column], part, "epoch")
            draw(axes[2, column], band(part[part.metric == "task_accuracy"], "epoch"), "black", "task accuracy", 100)
            axes[0, column].set_title(DATASETS[dataset])
            axes[2, column].set_xlabel("epoch")
            axes[2, column].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0, 0].set_ylabel("‖Δθ‖ (mean over\nLoRA modules)")
        axes[1, 0].set_ylabel("loss (nats per\nresponse token)")
        axes[1, 0].set_ylim(0, axes[1, 0].get_ylim()[1])
        axes[2, 0].set_ylabel("task accuracy (%)")
        axes[2, 0].set_ylim(-4, 104)
        figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
        save(run, "fig6_drift", figure)
    return figure


def linear_figure(run: Run, means: pd.DataFrame) -> Figure:
    """Figure 7: parameter change and test accuracy of two-layer linear models, a panel a size. Leaves fig7_linear.*."""
    with matplotlib.rc_context(STYLE):
        figure, axes = panels(means.parameters.nunique(), 4, height=2.2)
        for axis, (parameters, part) in zip(axes.flat, means.groupby("parameters"), strict=False):
            draw(axis, band(part[part.metric == "delta"], "epoch"), "black", "‖Δθ‖, share of the last", linestyle="--")
            draw(axis, band(part[part.metric == "test_accuracy"], "epoch"), "#56B4E9", "test accuracy")
            said = part[part.metric.isin(["pearson", "spearman"])].groupby("metric").value.mean()
            correlations = f"Pearson {said.pearson:.2f}, Spearman {said.spearman:.2f}"
            axis.set_title(f"{parameters:,} parameters\n{correlations}", fontsize=8)
            axis.set_xlabel("epoch")
            axis.set_ylim(0, 1.04)
        axes[0, 0].set_ylabel("share")
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
        save(run, "fig7_linear", figure)
    return figure


def layers_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 8: accuracy and coverage against the number of layers with LoRA, and their place, over the dev loss that
    says whether the task was learnt; hollow where it was not. Leaves fig8_layers.*."""
    methods = [method for method in ("repsim", "gradsim", "datainf", "lissa", "exact") if method in set(frame.method)]
    learnt = learning(frame)
    width = frame[frame.over == "window"].layers.iloc[0]
    labels = {"count": "layers with LoRA (the last ones)", "window": f"first of {width} layers with LoRA"}
    if width == 1:
        labels["window"] = "layer with LoRA"
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(3, 2, figsize=(7.2, 5.6), sharex="col", sharey="row")
        for column, (over, x) in enumerate((("count", "layers"), ("window", "first"))):
            of = frame[frame.over == over]
            hollow = learnt[(learnt.over == over) & ~learnt.learnt][x]
            for row, metric in enumerate(("accuracy", "coverage")):
                for method in methods:
                    line = band(of[(of.method == method) & (of.metric == metric)], x)
                    draw(axes[row, column], line, COLOURS[method], NAMES[method], 100)
                    values = line.value.reindex(hollow) * 100
                    axes[row, column].plot(
                        hollow, values, "o", color=COLOURS[method], markerfacecolor="white", markersize=4
                    )
                axes[row, 0].set_ylabel(f"{metric} (%)")
                axes[row, 0].set_ylim(0, 104)
            for metric, colour, name in (("dev_loss_before", "#999999", "step 0"), ("dev_loss", "black", "last step")):
                draw(axes[2, column], band(of[of.metric == metric], x), colour, name)
            ticks = sorted(of[x].unique())
            if over == "count":
                axes[2, column].set_xscale("log")
            axes[2, column].set_xticks(ticks, [str(tick) for tick in ticks])
            axes[2, column].minorticks_off()
            axes[2, column].set_xlabel(labels[over])
        figure.suptitle(DATASETS[frame.dataset.iloc[0]], fontsize=9)
        axes[2, 0].set_ylabel("dev loss (nats)")
        axes[2, 0].set_ylim(0, 1.05 * axes[2, 0].get_ylim()[1])
        axes[2, 0].legend(frameon=False)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
        save(run, "fig8_layers", figure)
    return figure
