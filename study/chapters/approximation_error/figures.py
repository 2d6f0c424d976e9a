"""Section 4.1's figures: errors, LiSSA's iterations, and agreement with retraining."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from study.chapters.approximation_error.tables import ERRORS, LINEAR, PREDICTORS
from study.config import Run
from study.methods import COLOURS, NAMES
from study.report.names import DATASETS
from study.report.plot import band, draw, panels, save, with_style

_LINES = ("datainf", "lissa-1", "lissa-5", "lissa-10", "gradsim", "fisher")
_DASHES = {"lissa-1": ":", "lissa-5": "--"}
_PREDICTORS = {method: name for method, name in PREDICTORS.items() if method != "fisher"}
# What the other chapters call Exact is the empirical Fisher's; Exact here is the Hessian's.
_COLOURS = COLOURS | {"exact": "black", "fisher": COLOURS["exact"]}


@with_style
def errors_figure(run: Run, means: pd.DataFrame) -> Figure:
    """Figure 3: error against the exact influence, over points (left) and parameters (right). Leaves fig3_error.*."""
    figure, axes = plt.subplots(3, 2, figsize=(7.2, 7), sharex="col", sharey="row")
    others = {"points": "parameters", "parameters": "points"}
    for column, (over, other) in zip(axes.T, others.items(), strict=True):
        for axis, metric in zip(column, ERRORS, strict=True):
            for key in _LINES:
                method, _, count = key.partition("-")
                part = means[(means.over == over) & (means.metric == metric) & (means.method == method)]
                part = band(part[part.iterations == int(count or 0)], over)
                draw(axis, part, _COLOURS[method], LINEAR[key], linestyle=_DASHES.get(key, "-"))
            axis.set(xscale="log", yscale="linear" if metric == "direction_error" else "log")
        column[0].set_title(f"{means[means.over == over][other].iloc[0]:,} {other}")
        column[2].set_xlabel(f"number of {over}")
    for axis, (metric, kind) in zip(axes[:, 0], ERRORS.items(), strict=True):
        axis.set_ylabel(f"{kind} error" + ("\n(loss per unit of weight)" if metric == "error" else ""))
    axes[2, 0].set_ylim(bottom=0)
    points = sorted(means[means.over == "points"].points.unique())
    axes[2, 0].set_xticks(points, map(str, points))
    axes[2, 0].minorticks_off()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return save(run, "fig3_error", figure)


@with_style
def lissa_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 4: coverage of LiSSA against its number of iterations, a panel a data set. Leaves fig4_lissa.*."""
    frame = frame[frame.metric == "coverage"]
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
        axis.set(title=DATASETS[dataset], ylim=(0, 104))
        axis.set_xscale("symlog", linthresh=1)
        axis.set_xticks([0, 1, 10, 100, 1_000, 10_000, 100_000])
        axis.minorticks_off()
    figure.supxlabel("LiSSA iterations", fontsize=9)
    figure.supylabel("coverage (%)", fontsize=9)
    figure.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return save(run, "fig4_lissa", figure)


@with_style
def truth_figure(run: Run, points: pd.DataFrame) -> Figure:
    """Predicted against actual change of the test loss, at the minimum: a panel a method. Leaves loo_truth.*."""
    points = points[(points.steps == 0) & (points.damping == 1) & (points.decay == run.profile.linear.decay)]
    figure, axes = plt.subplots(1, 4, figsize=(7.2, 2.2), sharey=True)
    for axis, (method, name) in zip(axes, _PREDICTORS.items(), strict=True):
        part = points[points.method == method]
        axis.scatter(part.predicted * 1e3, part.actual * 1e3, s=5, color=_COLOURS[method])
        ends = part.actual.min() * 1e3, part.actual.max() * 1e3
        low, high = axis.get_xlim()
        axis.plot(ends, ends, color="#999999", linewidth=0.8, zorder=0)
        axis.set(title=name, xlim=(min(low, ends[0]), max(high, ends[1])))
    axes[0].set_ylabel("actual change (10⁻³ nats)")
    figure.supxlabel("predicted change of the mean test loss (10⁻³ nats); grey: predicted = actual", fontsize=9)
    return save(run, "loo_truth", figure)


@with_style
def conditions_figure(run: Run, agreement: pd.DataFrame) -> Figure:
    """How the agreement with retraining depends on damping, weight decay and stopping. Leaves loo_conditions.*."""
    decay = run.profile.linear.decay
    pearson = agreement[agreement.metric == "pearson"]
    exact = pearson[(pearson.method == "exact") & (pearson.steps == 0)]
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.5), sharey=True, width_ratios=[1, 0.8, 1.3])
    conditions = (
        ("damping", "damping / weight decay", exact[exact.decay == decay]),
        ("decay", "weight decay", exact[exact.damping == 1]),
        ("steps", "steps of gradient descent before stopping", pearson[pearson.steps > 0]),
    )
    for axis, (x, label, part) in zip(axes, conditions, strict=True):
        for method in (method for method in _PREDICTORS if method in set(part.method)):
            draw(axis, band(part[part.method == method], x), _COLOURS[method], _PREDICTORS[method])
        axis.set(xlabel=label, xscale="log")
    axes[0].set_ylabel("correlation with retraining")
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return save(run, "loo_conditions", figure, ("loo_truth",))
