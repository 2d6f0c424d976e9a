"""Section 4.1's figures: errors, LiSSA's iterations, and agreement with retraining."""

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from study.chapters.approximation_error.tables import ERRORS, LINEAR
from study.config import Run
from study.methods import COLOURS, NAMES
from study.report.names import DATASETS
from study.report.plot import STYLE, band, draw, panels, save

_LINES = {  # key -> colour, dash; the empirical Fisher is what the other chapters call Exact
    "datainf": (COLOURS["datainf"], "-"),
    "lissa-1": (COLOURS["lissa"], ":"),
    "lissa-5": (COLOURS["lissa"], "--"),
    "lissa-10": (COLOURS["lissa"], "-"),
    "gradsim": (COLOURS["gradsim"], "-"),
    "fisher": (COLOURS["exact"], "-"),
}
_PREDICTORS = {"exact": "Exact (Hessian)", "lissa": LINEAR["lissa-10"], "datainf": "DataInf", "gradsim": "GradSim"}
_COLOURS = COLOURS | {"exact": "black"}  # the Hessian's: not what is called Exact elsewhere


def errors_figure(run: Run, means: pd.DataFrame) -> Figure:
    """Figure 3: error against the exact influence, over points (left) and parameters (right). Leaves fig3_error.*."""
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(3, 2, figsize=(7.2, 7), sharex="col", sharey="row")
        for column, over in enumerate(("points", "parameters")):
            for row, (metric, kind) in enumerate(ERRORS.items()):
                axis = axes[row, column]
                for key, (colour, dash) in _LINES.items():
                    method, _, count = key.partition("-")
                    part = means[(means.over == over) & (means.metric == metric) & (means.method == method)]
                    part = band(part[part.iterations == int(count or 0)], over)
                    draw(axis, part, colour, LINEAR[key], linestyle=dash)
                axis.set_xscale("log")
                if metric != "direction_error":
                    axis.set_yscale("log")
                if column == 0:
                    axis.set_ylabel(f"{kind} error" + ("\n(loss per unit of weight)" if metric == "error" else ""))
            other = {"points": "parameters", "parameters": "points"}[over]
            axes[0, column].set_title(f"{means[means.over == over][other].iloc[0]:,} {other}")
            axes[2, column].set_xlabel(f"number of {over}")
        axes[2, 0].set_ylim(0, 1)
        points = sorted(means[means.over == "points"].points.unique())
        axes[2, 0].set_xticks(points, map(str, points))
        axes[2, 0].minorticks_off()
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
        save(run, "fig3_error", figure)
    return figure


def lissa_figure(run: Run, frame: pd.DataFrame) -> Figure:
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


def truth_figure(run: Run, points: pd.DataFrame) -> Figure:
    """Predicted against actual change of the test loss, at the minimum: a panel a method. Leaves loo_truth.*."""
    points = points[(points.steps == 0) & (points.damping == 1) & (points.decay == run.profile.linear.decay)]
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(1, 4, figsize=(7.2, 2.2), sharey=True)
        for axis, (method, name) in zip(axes, _PREDICTORS.items(), strict=True):
            part = points[points.method == method]
            axis.scatter(part.predicted * 1e3, part.actual * 1e3, s=5, color=_COLOURS[method])
            ends = part.actual.min() * 1e3, part.actual.max() * 1e3
            low, high = axis.get_xlim()
            axis.plot(ends, ends, color="#999999", linewidth=0.8, zorder=0)
            axis.set_xlim(min(low, ends[0]), max(high, ends[1]))
            axis.set_title(name)
        axes[0].set_ylabel("actual change (10⁻³ nats)")
        figure.supxlabel("predicted change of the mean test loss (10⁻³ nats); grey: predicted = actual", fontsize=9)
        save(run, "loo_truth", figure)
    return figure


def conditions_figure(run: Run, agreement: pd.DataFrame) -> Figure:
    """How the agreement with retraining depends on damping, weight decay and stopping. Leaves loo_conditions.*."""
    decay = run.profile.linear.decay
    pearson = agreement[agreement.metric == "pearson"]
    exact = pearson[(pearson.method == "exact") & (pearson.steps == 0)]
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.5), sharey=True, width_ratios=[1, 0.8, 1.3])
        draw(axes[0], band(exact[exact.decay == decay], "damping"), "black", _PREDICTORS["exact"])
        axes[0].set_xlabel("damping / weight decay")
        draw(axes[1], band(exact[exact.damping == 1], "decay"), "black", _PREDICTORS["exact"])
        axes[1].set_xlabel("weight decay")
        stopped = pearson[(pearson.steps > 0) & (pearson.decay == decay)]
        for method, name in _PREDICTORS.items():
            line = band(stopped[stopped.method == method], "steps")
            draw(axes[2], line, _COLOURS[method], name)
        axes[2].set_xlabel("steps of gradient descent before stopping")
        for axis in axes:
            axis.set_xscale("log")
        axes[0].set_ylabel("correlation with retraining")
        figure.legend(*axes[2].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
        save(run, "loo_conditions", figure, ("loo_truth",))
    return figure
