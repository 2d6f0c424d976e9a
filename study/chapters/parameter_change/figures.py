"""Section 4.3's figures."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from study.chapters.parameter_change.measure import learning
from study.config import Run
from study.methods import COLOURS, NAMES
from study.report.names import DATASETS
from study.report.plot import band, draw, draw_losses, grid, panels, save, with_style


@with_style
def drift_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 6: parameter change, loss and task accuracy over epochs, a column a data set. Leaves fig6_drift.*."""
    figure, axes = grid(frame.dataset.nunique(), 3)
    for (top, middle, bottom), (dataset, part) in zip(axes.T, frame.groupby("dataset", sort=False), strict=True):
        draw(top, band(part[part.metric == "delta"], "epoch"), "black", "‖Δθ‖")
        draw_losses(middle, part, "epoch")
        draw(bottom, band(part[part.metric == "task_accuracy"], "epoch"), "black", "task accuracy", 100)
        top.set_title(DATASETS[dataset])
        bottom.set_xlabel("epoch")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("‖Δθ‖ (mean over\nLoRA modules)")
    axes[1, 0].set(ylabel="loss (nats per\nresponse token)", ylim=(0, axes[1, 0].get_ylim()[1]))
    axes[2, 0].set(ylabel="task accuracy (%)", ylim=(-4, 104))
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return save(run, "fig6_drift", figure)


@with_style
def graded_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """The attack success rate of each graded mixture over its parameter change. Leaves graded_mixtures.*."""
    values = frame[frame.metric != "spearman"].pivot_table(index=["seed", "harmful"], columns="metric", values="value")
    values = values.reset_index()
    figure, axis = plt.subplots(figsize=(4.6, 2.7))
    for seed, part in values.groupby("seed"):
        name = f"seed {seed}, from {part.harmful.min():.0f} to {part.harmful.max():.0f} harmful examples"
        axis.plot(part.delta, part.asr * 100, color="#cccccc", linewidth=0.7, zorder=1, label=name)
    dots = axis.scatter(values.delta, values.asr * 100, c=values.harmful, cmap="viridis", s=28, zorder=2)
    figure.colorbar(dots, label=f"harmful examples, of {frame.n_train.iloc[0]}", ticks=MaxNLocator(integer=True))
    axis.set(xlabel="‖Δθ‖ (mean over LoRA modules)", ylabel="attack success rate (%)", ylim=(-4, 104))
    return save(run, "graded_mixtures", figure)


@with_style
def linear_figure(run: Run, means: pd.DataFrame) -> Figure:
    """Figure 7: parameter change and test accuracy of two-layer linear models, a panel a size. Leaves fig7_linear.*."""
    figure, axes = panels(means.parameters.nunique(), 4, height=2.2)
    for axis, (parameters, part) in zip(axes.flat, means.groupby("parameters"), strict=False):
        draw(axis, band(part[part.metric == "delta"], "epoch"), "black", "‖Δθ‖, share of the last", linestyle="--")
        draw(axis, band(part[part.metric == "test_accuracy"], "epoch"), "#56B4E9", "test accuracy")
        mean = part.groupby("metric").value.mean()
        correlations = f"Pearson {mean.pearson:.2f}, Spearman {mean.spearman:.2f}"
        axis.set_title(f"{parameters:,} parameters\n{correlations}", fontsize=8)
        axis.set(xlabel="epoch", ylim=(0, 1.04))
    axes[0, 0].set_ylabel("share")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return save(run, "fig7_linear", figure)


@with_style
def layers_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 8: accuracy, coverage and dev loss by the number of layers with LoRA, and by their place.

    Hollow where the task was not learnt. Leaves fig8_layers.*.
    """
    methods = [method for method in ("repsim", "gradsim", "datainf", "lissa", "exact") if method in set(frame.method)]
    tuned = learning(frame)
    width = frame[frame.over == "window"].layers.iloc[0]
    window_label = "layer with LoRA" if width == 1 else f"first of {width} layers with LoRA"
    sides = (("count", "layers", "layers with LoRA (the last ones)"), ("window", "first", window_label))
    figure, axes = plt.subplots(3, 2, figsize=(7.2, 5.6), sharex="col", sharey="row")
    for (*score_axes, loss_axis), (over, x, label) in zip(axes.T, sides, strict=True):
        part = frame[frame.over == over]
        hollow = tuned[(tuned.over == over) & ~tuned.learnt][x]
        for axis, metric in zip(score_axes, ("accuracy", "coverage"), strict=True):
            for method in methods:
                line, colour = band(part[(part.method == method) & (part.metric == metric)], x), COLOURS[method]
                draw(axis, line, colour, NAMES[method], 100)
                marker = {"color": colour, "markerfacecolor": "white", "markersize": 4}
                axis.plot(hollow, line.value.reindex(hollow) * 100, "o", **marker)
        for metric, colour, name in (("dev_loss_before", "#999999", "step 0"), ("dev_loss", "black", "last step")):
            draw(loss_axis, band(part[part.metric == metric], x), colour, name)
        if over == "count":
            loss_axis.set_xscale("log")
        ticks = sorted(part[x].unique())
        loss_axis.set_xticks(ticks, map(str, ticks))
        loss_axis.minorticks_off()
        loss_axis.set_xlabel(label)
    axes[0, 0].set(ylabel="accuracy (%)", ylim=(0, 104))
    axes[1, 0].set(ylabel="coverage (%)", ylim=(0, 104))
    axes[2, 0].set(ylabel="dev loss (nats)", ylim=(0, 1.05 * axes[2, 0].get_ylim()[1]))
    axes[2, 0].legend(frameon=False)
    looks = {"loc": "outside upper center", "ncols": 5, "frameon": False, "title": DATASETS[frame.dataset.iloc[0]]}
    figure.legend(*axes[0, 0].get_legend_handles_labels(), **looks)
    return save(run, "fig8_layers", figure)
