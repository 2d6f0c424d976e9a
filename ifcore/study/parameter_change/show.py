"""Section 4.3's table and figures, with the paper's numbers beside ours, and the sentences that read them."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from ifcore.study import statistics
from ifcore.study.config import Run
from ifcore.study.paper import paper
from ifcore.study.parameter_change.measure import MODELS
from ifcore.study.show.colours import COLOURS
from ifcore.study.show.names import DATASETS, NAMES
from ifcore.study.show.plot import STYLE, band, draw, grid, losses, panels, save
from ifcore.study.show.publish import publish
from ifcore.study.show.table import Prose, Table, interval, slope_text


def pairs_table(run: Run, frame: pd.DataFrame) -> Table:
    """Table 6: how far each pair of models is apart, in three ways. Leaves table6_delta.csv."""
    frame = publish(run, "table6_delta", frame)
    several = frame.seed.nunique() > 1
    rows = []
    for pair, part in frame.groupby("dataset", sort=False):
        cells = []
        for metric in ("asr", "delta", "delta_unscaled", "kl", "kl_first"):
            each, scale, digits = part[part.metric == metric], *((100, 1) if metric == "asr" else (1, 2))
            over_seeds = several and not metric.startswith("delta")  # whose spread is over LoRA modules
            spread = (each.value.std() if over_seeds else (each.value - each.ci_low).mean()) * scale
            cell = f"{each.value.mean() * scale:.{digits}f}"
            cells.append(cell if pd.isna(spread) else f"{cell} ± {spread:.{digits}f}")
        printed = paper()["table6"][pair]
        cells += [f"*{printed['asr']:.2f}*", f"*{printed['delta']:.2f} ± {printed['sd']:.2f}*"]
        rows.append([" vs ".join(MODELS[name] for name in pair.split("-")), *cells])
    over = f"over {frame.seed.nunique()} seeds" if several else "half the 95 % interval over prompts"
    caption = (
        "How far models are apart: in attack success rate (percentage points), in parameters (mean ± s.d. over LoRA "
        "modules of the norm of the difference of their updates, with the scaling α/r and without), and in what they "
        f"say (KL divergence in nats; ±: {over}). O: the original model; B, H, M: fine-tuned on the benign, the "
        "harmful and all examples of the small mixture. In italics, the paper's."
    )
    ours = ["ΔASR", "‖Δθ‖", "‖Δθ‖ unscaled", "KL, prompt", "KL, first token"]
    return Table("tab-delta", caption, ["Pair", *ours, "*ΔASR*", "*‖Δθ‖ unscaled*"], rows, frame)


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


def pairs_text(frame: pd.DataFrame) -> Prose:
    """Whether distance in parameters, or in predictions, follows behaviour over the pairs of Table 6."""
    wide = frame.pivot_table(index="dataset", columns="metric", values="value", sort=False)
    lines = []
    for metric, name in (("delta", "‖Δθ‖"), ("kl", "KL over the prompt"), ("kl_first", "KL at the first token")):
        spread = wide[metric].max() / wide[metric].min()
        line = f"- {name}: over the {len(wide)} pairs the largest is {spread:.1f} times the smallest; "
        if wide.asr.nunique() == 1:
            line += "ΔASR is the same for all of them, so there is nothing to correlate with."
        else:
            rho = stats.spearmanr(wide.asr, wide[metric]).statistic
            low, high = _permutation(wide.asr, wide[metric])
            line += (
                f"rank correlation with ΔASR {rho:.2f} (95 % of all relabellings of the pairs lie between "
                f"{low:.2f} and {high:.2f})."
            )
        lines.append(line)
    near, far = wide.loc["harmful-mixed"], wide.loc["benign-mixed"]
    lines.append(
        f"- The pair H, M, two models that both saw harmful examples, against B, M: ‖Δθ‖ {near.delta:.2f} against "
        f"{far.delta:.2f}, a ratio of {near.delta / far.delta:.2f}; KL at the first token {near.kl_first:.2f} against "
        f"{far.kl_first:.2f}, a ratio of {near.kl_first / far.kl_first:.2f}."
    )
    if wide.asr.max() < 0.5:
        lines.append(
            f"- The largest ΔASR here is {wide.asr.max() * 100:.0f} points, in the paper "
            f"{max(pair['asr'] for pair in paper()['table6'].values()):.0f}. Table 1 has the rates themselves: where "
            "the model complied before fine-tuning, the attack success rate has little left to show."
        )
    return Prose("\n".join(lines))


def drift_text(frame: pd.DataFrame) -> Prose:
    """Whether parameters keep moving after behaviour has settled, as Figure 6 has it."""
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        wide = part.pivot_table(index="epoch", columns="metric", values="value")
        if "dev_loss" not in wide:
            lines.append(f"- {DATASETS[dataset]}: without dev examples there is no loss to tell when learning is done.")
            continue
        trained = wide.loc[1:]
        best = trained.dev_loss.idxmin()
        lowest = trained.dev_loss.min()
        if lowest >= wide.dev_loss[0]:
            lines.append(f"- {DATASETS[dataset]}: the dev loss never falls below that before fine-tuning.")
            continue
        settled = trained.index[trained.dev_loss <= lowest + 0.1 * (wide.dev_loss[0] - lowest)][0]
        last = wide.index.max()
        rho = stats.spearmanr(wide.index, wide.delta).statistic
        line = (
            f"- {DATASETS[dataset]}: nine tenths of the fall of the dev loss are done after epoch {settled}, "
            f"its lowest is at {best}. From epoch {settled} to {last} ‖Δθ‖ goes from {wide.delta[settled]:.2f} to "
            f"{wide.delta[last]:.2f} (rank correlation with the epoch {rho:.2f})"
        )
        known = wide.task_accuracy.dropna()
        after = known[known.index >= settled]
        if len(after) > 1:
            line += f", task accuracy from {after.iloc[0] * 100:.0f} to {after.iloc[-1] * 100:.0f} %"
        lines.append(line + ".")
    return Prose("\n".join(lines))


def linear_text(means: pd.DataFrame) -> Prose:
    """Whether the correlation of ‖Δθ‖ and accuracy falls with the number of parameters, as Figure 7 has it."""
    sizes = sorted(means.parameters.unique())
    lines = []
    saturated = []
    for parameters in (sizes[0], sizes[-1]):
        along = means[means.parameters == parameters].pivot_table(index="epoch", columns="metric", values="value")
        accuracy = along.test_accuracy
        near = accuracy.index[accuracy >= accuracy[0] + 0.9 * (accuracy.max() - accuracy[0])][0]
        saturated.append(
            f"with {parameters:,} parameters after epoch {near:.0f}, when ‖Δθ‖ is at {along.delta[near] * 100:.0f} % "
            "of its last"
        )
    lines.append(f"- Nine tenths of the rise in accuracy are done {'; '.join(saturated)}.")
    for metric in ("pearson", "spearman"):
        found = [means[(means.parameters == size) & (means.metric == metric)] for size in sizes]
        found = [statistics.mean_over_seeds(each.value, each.ci_low, each.ci_high) for each in found]
        apart, lower = found[-1][2] < found[0][1], found[-1][0] < found[0][0]
        verdict = "holds here" if apart else ("holds in part" if lower else "does not hold here")
        lines.append(
            f"- *The correlation weakens as the number of parameters grows*, {metric.capitalize()}: {verdict}. From "
            f"{sizes[0]:,} to {sizes[-1]:,} parameters it is "
            + ", ".join(f"{value:.2f}{interval(low, high)}" for value, low, high in found)
            + "."
        )
    return Prose("\n".join(lines))


def layers_text(frame: pd.DataFrame) -> Prose:
    """Whether the number or the place of the layers with LoRA changes what the methods find, as Figure 8 has it."""
    lines = []
    doubling, further = "doubling of the number of layers", "layer further up"
    for over, x, what in (("count", "layers", doubling), ("window", "first", further)):
        part = frame[frame.over == over]
        said = []
        for method in ("datainf", "gradsim", "exact", "repsim"):
            each = part[(part.method == method) & (part.metric == "coverage")]
            if len(each):
                size = np.log2(each[x]) if over == "count" else each[x]
                slope = (100 * number for number in statistics.interval_of_slope(size, each.value, each.seed))
                said.append(f"{NAMES[method]} {slope_text(*slope)}")
        lines.append(f"- Coverage changes, per {what}, by {', '.join(said)} points.")
    wide = frame[frame.metric == "accuracy"].groupby("method").value.agg(["min", "max"]) * 100
    said = ", ".join(f"{NAMES[method]} {row['min']:.0f} to {row['max']:.0f} %" for method, row in wide.iterrows())
    lines.append(f"- Over all of them, accuracy is {said}.")
    return Prose("\n".join(lines))


def _permutation(x: pd.Series, y: pd.Series) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of the rank correlation over all orders of y."""
    found = stats.permutation_test(
        (x,), lambda order: stats.spearmanr(order, y).statistic, permutation_type="pairings", vectorized=False
    )
    return tuple(pd.Series(found.null_distribution).quantile([0.025, 0.975]))
