"""The figures of section 4."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ifcore.study.config import Run
from ifcore.study.figures import COLOURS, STYLE, save
from ifcore.study.tables import DATASETS, NAMES
from ifcore.study.tables_why import LINEAR

_LINES = {  # key -> colour, dash; the empirical Fisher is what the other chapters call Exact
    "datainf": (COLOURS["datainf"], "-"),
    "lissa-1": (COLOURS["lissa"], ":"),
    "lissa-5": (COLOURS["lissa"], "--"),
    "lissa-10": (COLOURS["lissa"], "-"),
    "gradsim": (COLOURS["gradsim"], "-"),
    "fisher": (COLOURS["exact"], "-"),
}

_PREDICTORS = {"exact": "Exact (Hessian)", "lissa": LINEAR["lissa-10"], "datainf": "DataInf", "gradsim": "GradSim"}
_HESSIAN = {"exact": "black"}  # not what is called Exact elsewhere


def errors(run: Run, means: pd.DataFrame) -> Figure:
    """Figure 3: error against the exact influence, over points (left) and parameters (right). Leaves fig3_error.*."""
    titles = {
        "error": "absolute error\n(loss per unit of weight)",
        "relative_error": "relative error",
        "direction_error": "direction error",
    }
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(3, 2, figsize=(7.2, 7), sharex="col", sharey="row")
        for column, over in enumerate(("points", "parameters")):
            for row, (metric, title) in enumerate(titles.items()):
                axis: Axes = axes[row, column]
                for key, (colour, dash) in _LINES.items():
                    method, _, count = key.partition("-")
                    part = means[(means.over == over) & (means.metric == metric) & (means.method == method)]
                    part = band(part[part.iterations == int(count or 0)], over)
                    draw(axis, part, colour, LINEAR[key], linestyle=dash)
                axis.set_xscale("log")
                if metric != "direction_error":
                    axis.set_yscale("log")
                if column == 0:
                    axis.set_ylabel(title)
            axes[0, column].set_title(_fixed(means, over))
            axes[2, column].set_xlabel(f"number of {over}")
        axes[2, 0].set_ylim(0, 1)
        points = sorted(means[means.over == "points"].points.unique())
        axes[2, 0].set_xticks(points, map(str, points))
        axes[2, 0].minorticks_off()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        save(run, "fig3_error", figure)
    return figure


def lissa(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 4: accuracy of LiSSA against its number of iterations, a panel a data set. Leaves fig4_lissa.*."""
    frame = frame[frame.metric == "accuracy"]
    with matplotlib.rc_context(STYLE):
        figure, axes = panels(frame.dataset.nunique(), 3, height=2.0)
        for axis, (dataset, part) in zip(axes.flat, frame.groupby("dataset", sort=False), strict=False):
            for method, colour, dash, name in (
                ("lissa", COLOURS["lissa"], "-", "LiSSA"),
                ("lissa_released", "#777777", "--", "LiSSA as in the released code"),
            ):
                draw(axis, band(part[part.method == method], "iterations"), colour, name, scale=100, linestyle=dash)
            for method in ("exact", "repsim"):
                level = part[part.method == method].value.mean() * 100
                axis.axhline(level, color=COLOURS[method], linestyle=":", linewidth=1.5, label=NAMES[method])
            axis.axvline(run.profile.lissa_iterations, color="#bbbbbb", linewidth=0.8, zorder=0)
            axis.set_title(DATASETS[dataset])
            axis.set_xscale("symlog", linthresh=1)
            axis.set_xticks([0, 1, 10, 100, 1_000, 10_000, 100_000])
            axis.minorticks_off()
            axis.set_ylim(0, 104)
        figure.supxlabel("LiSSA iterations", fontsize=9)
        figure.supylabel("accuracy (%)", fontsize=9)
        figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
        save(run, "fig4_lissa", figure)
    return figure


def truth(run: Run, points: pd.DataFrame) -> Figure:
    """Predicted against actual change of the test loss, at the minimum: a panel a method. Leaves loo_truth.*."""
    at = points[(points.steps == 0) & (points.damping == 1) & (points.decay == run.profile.linear.decay)]
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(7.2, 2.2), sharey=True)
        for axis, (method, name) in zip(axes, _PREDICTORS.items(), strict=True):
            part = at[at.method == method]
            axis.scatter(part.predicted * 1e3, part.actual * 1e3, s=5, color=_HESSIAN.get(method, COLOURS[method]))
            ends = part.actual.min() * 1e3, part.actual.max() * 1e3
            low, high = axis.get_xlim()
            axis.plot(ends, ends, color="#999999", linewidth=0.8, zorder=0)
            axis.set_xlim(min(low, ends[0]), max(high, ends[1]))
            axis.set_title(name)
        axes[0].set_ylabel("actual change (10⁻³ nats)")
        figure.supxlabel("predicted change of the mean test loss (10⁻³ nats); grey: predicted = actual", fontsize=9)
        save(run, "loo_truth", figure)
    return figure


def conditions(run: Run, agreement: pd.DataFrame) -> Figure:
    """How the agreement with retraining depends on damping, weight decay and stopping. Leaves loo_conditions.*."""
    decay = run.profile.linear.decay
    found = agreement[agreement.metric == "pearson"]
    exact = found[(found.method == "exact") & (found.steps == 0)]
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.5), sharey=True, width_ratios=[1, 0.8, 1.3])
        damped, decayed = exact[exact.decay == decay], exact[exact.damping == 1]
        draw(axes[0], band(damped, "damping"), "black", "Exact (Hessian)")
        axes[0].set_xlabel("damping / weight decay")
        draw(axes[1], band(decayed, "decay"), "black", "Exact (Hessian)")
        axes[1].set_xlabel("weight decay")
        stopped = found[(found.steps > 0) & (found.decay == decay)]
        for method, name in _PREDICTORS.items():
            line = band(stopped[stopped.method == method], "steps")
            draw(axes[2], line, _HESSIAN.get(method, COLOURS[method]), name)
        axes[2].set_xlabel("steps of gradient descent before stopping")
        for axis in axes:
            axis.set_xscale("log")
        axes[0].set_ylabel("correlation with retraining")
        figure.legend(*axes[2].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
        save(run, "loo_conditions", figure)
    return figure


def convergence(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 5: the methods and the loss along fine-tuning, a column a data set. Leaves fig5_convergence.*."""
    methods = [method for method in ("repsim", "gradsim", "datainf", "exact") if method in set(frame.method)]
    titles = {
        "accuracy": "accuracy (%)",
        "coverage": "coverage (%)",
        "stability": "rank correlation with\nthe one before",
    }
    with matplotlib.rc_context(STYLE):
        figure, axes = _grid(frame.dataset.nunique(), 4)
        for column, (dataset, part) in enumerate(frame.groupby("dataset", sort=False)):
            for row, (metric, title) in enumerate(titles.items()):
                scale = 1 if metric == "stability" else 100
                for method in methods:
                    each = part[(part.method == method) & (part.metric == metric)]
                    draw(axes[row, column], band(each, "step"), COLOURS[method], NAMES[method], scale)
                axes[row, 0].set_ylabel(title)
            _losses(axes[3, column], part, "step")
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


def drift(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 6: parameter change, loss and task accuracy over epochs, a column a data set. Leaves fig6_drift.*."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _grid(frame.dataset.nunique(), 3)
        for column, (dataset, part) in enumerate(frame.groupby("dataset", sort=False)):
            draw(axes[0, column], band(part[part.metric == "delta"], "epoch"), "black", "‖Δθ‖")
            _losses(axes[1, column], part, "epoch")
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


def linear(run: Run, means: pd.DataFrame) -> Figure:
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


def layers(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 8: accuracy and coverage against the number of layers with LoRA, and their place. Leaves fig8_layers.*."""
    methods = [method for method in ("repsim", "gradsim", "datainf", "lissa", "exact") if method in set(frame.method)]
    width = frame[frame.over == "window"].layers.iloc[0]
    labels = {"count": "layers with LoRA (the last ones)", "window": f"first of {width} layers with LoRA"}
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(7.2, 4.4), sharex="col", sharey=True)
        for column, (over, x) in enumerate((("count", "layers"), ("window", "first"))):
            for row, metric in enumerate(("accuracy", "coverage")):
                part = frame[(frame.over == over) & (frame.metric == metric)]
                for method in methods:
                    line = band(part[part.method == method], x)
                    draw(axes[row, column], line, COLOURS[method], NAMES[method], 100)
                axes[row, 0].set_ylabel(f"{metric} (%)")
            ticks = sorted(frame[frame.over == over][x].unique())
            if over == "count":
                axes[1, column].set_xscale("log")
            axes[1, column].set_xticks(ticks, [str(tick) for tick in ticks])
            axes[1, column].minorticks_off()
            axes[1, column].set_xlabel(labels[over])
        axes[0, 0].set_ylim(0, 104)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=5, frameon=False)
        save(run, "fig8_layers", figure)
    return figure


def band(frame: pd.DataFrame, x: str) -> pd.DataFrame:
    """value, low, high at each x: of one seed its own interval; over several, mean ± s.d., where all of them have x."""
    if "seed" in frame and frame.seed.nunique() > 1:
        frame = frame[frame.groupby(x).seed.transform("nunique") == frame.seed.nunique()]
        mean, sd = frame.groupby(x).value.mean(), frame.groupby(x).value.std()
        return pd.DataFrame({"value": mean, "low": mean - sd, "high": mean + sd})
    return frame.set_index(x)[["value", "ci_low", "ci_high"]].set_axis(["value", "low", "high"], axis=1).sort_index()


def draw(axis: Axes, line: pd.DataFrame, colour: str, name: str, scale: float = 1, linestyle: str = "-") -> None:
    """A line with its band."""
    axis.plot(line.index, line.value * scale, color=colour, label=name, linestyle=linestyle, marker="o", markersize=2.5)
    axis.fill_between(line.index, line.low * scale, line.high * scale, color=colour, alpha=0.15, linewidth=0)


def panels(count: int, columns: int, height: float):
    """A grid of at least `count` panels that share both axes; those left over are hidden."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(7.2, 0.6 + height * rows), sharex=True, sharey=True, squeeze=False
    )
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    for axis in axes[-2, count - columns * (rows - 1) :] if rows > 1 else ():
        axis.tick_params(labelbottom=True)
    return figure, axes


def _grid(columns: int, rows: int):
    """Panels that share the x axis down a column and the y axis along a row."""
    return plt.subplots(rows, columns, figsize=(7.2, 0.6 + 1.55 * rows), sharex="col", sharey="row", squeeze=False)


def _losses(axis: Axes, part: pd.DataFrame, x: str) -> None:
    for metric, colour, name in (("train_loss", "#999999", "training loss"), ("val_loss", "black", "validation loss")):
        each = part[(part.metric == metric) & part.value.notna()]
        draw(axis, band(each, x), colour, name)


def _fixed(means: pd.DataFrame, over: str) -> str:
    other = {"points": "parameters", "parameters": "points"}[over]
    return f"{means[means.over == over][other].iloc[0]:,} {other}"
