"""Figure 5, and the sentences that read it."""

import pandas as pd
from matplotlib.figure import Figure

from study.chapters.convergence.measure import trends
from study.config import Run
from study.methods import NAMES
from study.paper import stated
from study.report.names import DATASETS
from study.report.plot import draw_losses, draw_methods, grid, save, with_style
from study.report.table import Prose, Table, difference_verdict, interval, points, points_cell
from study.statistics import interval_of_mean

ALIKE = 0.7  # the correlation from which on two methods' changes are called alike


@with_style
def convergence_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Figure 5: the methods and the loss along fine-tuning, a column a data set. Leaves fig5_convergence.*."""
    methods, scales = ("repsim", "gradsim", "datainf", "exact"), {"accuracy": 100, "coverage": 100, "stability": 1}
    figure, axes = grid(frame.dataset.nunique(), 4)
    for (*score_axes, loss_axis), (dataset, part) in zip(axes.T, frame.groupby("dataset", sort=False), strict=True):
        score_axes[0].set_title(DATASETS[dataset])
        for axis, (metric, scale) in zip(score_axes, scales.items(), strict=True):
            draw_methods(axis, part[part.metric == metric], "step", methods, scale)
        draw_losses(loss_axis, part, "step")
        loss_axis.set_xlabel("step")
    axes[0, 0].set(ylabel="accuracy (%)", ylim=(0, 104))
    axes[1, 0].set(ylabel="coverage (%)", ylim=(0, 104))
    lowest = max(-1.04, min(0, axes[2, 0].get_ylim()[0]))
    axes[2, 0].set(ylabel="rank correlation with\nthe one before", ylim=(lowest, 1.04))
    axes[3, 0].set(ylabel="loss (nats per\nresponse token)", ylim=(0, 1.05 * axes[3, 0].get_ylim()[1]))
    legends = (axes[row, 0].get_legend_handles_labels() for row in (0, 3))
    handles, names = (scores + losses for scores, losses in zip(*legends, strict=True))
    figure.legend(handles, names, loc="outside upper center", ncols=6, frameon=False, columnspacing=1.2)
    return save(run, "fig5_convergence", figure)


def trends_table(frame: pd.DataFrame) -> Table:
    """Behind Figure 5: from the first trained checkpoint to the last, a row a method. From fig5_convergence.csv."""
    accuracy, coverage = (trends(frame, metric).set_index(["dataset", "method"]) for metric in ("accuracy", "coverage"))
    rows = []
    for dataset, method in accuracy.index:
        if method in _FOLLOWED:
            cells = [cell for trend in (accuracy, coverage) for cell in _trend_cells(trend.loc[(dataset, method)])]
            rows.append([DATASETS[dataset], NAMES[method], *cells])
    several = frame.seed.nunique() > 1
    pairs = f"over {frame.seed.nunique()} seeds" if several else "over validation examples, each against itself"
    caption = (
        "From the first trained checkpoint to the last: the value at both (percent), the change (points) with its 95 % "
        f"interval {pairs}, and the slope over all trained checkpoints (points per 10 steps)."
    )
    if not several:
        caption += " The slope has no interval: the few checkpoints of one training follow from each other."
    columns = ("from, to (%)", "change", "slope")
    header = ["Task", "Method", *(f"{metric}, {part}" for metric in ("Accuracy", "Coverage") for part in columns)]
    return Table(None, caption, header, rows, frame)


def convergence_text(frame: pd.DataFrame) -> Prose:
    """Whether accuracy falls or rises along fine-tuning, data set by data set, as Figure 5 has it."""
    lines = [
        f"- {DATASETS[dataset]}: in the paper the accuracy of influence functions {stated('figure5', dataset)}. "
        f"Here accuracy {_directions(part, 'accuracy')}. Coverage {_directions(part, 'coverage')}."
        for dataset, part in frame.groupby("dataset", sort=False)
    ]
    lines.append("")
    followed = frame[frame.metric == "followed"].dropna(subset="value")
    if len(followed):
        lines.append(_followed_line(followed))
    stable = frame[frame.metric == "stability"].groupby("method", sort=False).value.agg(["mean", "min"])
    values = ", ".join(f"{NAMES[m]} {row['mean']:.2f} (lowest {row['min']:.2f})" for m, row in stable.iterrows())
    lines.append(
        f"- *Instability*: the rank correlation of a checkpoint's scores with those of the checkpoint before is, on "
        f"average, {values}."
    )
    return Prose("\n".join(lines))


def control_text(frame: pd.DataFrame) -> Prose:
    """What each method finds at step 0, before any training example was seen, and what fine-tuning adds to it."""
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        parts = []
        for row in trends(part, "coverage").itertuples():
            if row.method in _FOLLOWED and not pd.isna(row.untouched):
                value, low, high = row.taught
                effect = difference_verdict(low, high, "fine-tuning adds to it", "fine-tuning takes from it")
                effect = effect.replace("inconclusive", "what fine-tuning adds is inconclusive")
                parts.append(f"{NAMES[row.method]} {row.untouched * 100:.0f} % ({effect}: {points(value, low, high)})")
        lines.append(f"- {DATASETS[dataset]}, coverage at step 0: {'; '.join(parts)}.")
    return Prose("\n".join(lines))


_FOLLOWED = ("datainf", "gradsim", "exact", "repsim")


def _followed_line(rows: pd.DataFrame) -> str:
    """Whether DataInf's scores change as GradSim's do: by the mean over data sets, whose interval is over them."""
    by_dataset = rows.groupby("dataset", sort=False).value.agg(["mean", "min", "max"])
    low, high = interval_of_mean(by_dataset["mean"])
    verdict = difference_verdict(low - ALIKE, high - ALIKE, "holds here", "does not hold here")
    values = "; ".join(
        f"{DATASETS[dataset]} {row['mean']:.2f}"
        + (f" (from {row['min']:.2f} to {row['max']:.2f})" if row["min"] < row["max"] else "")
        for dataset, row in by_dataset.iterrows()
    )
    return (
        f"- *Changes of influence functions closely follow those of gradient similarity*, {verdict}: from one trained "
        "checkpoint to the next the scores of DataInf and GradSim change with a rank correlation of "
        f"{by_dataset['mean'].mean():.2f}{interval(low, high)} over data sets, where {ALIKE} is asked for. {values}."
    )


def _directions(frame: pd.DataFrame, metric: str) -> str:
    """`rises for A, B; may go either way for C`: which way a metric moves on one data set."""
    methods: dict[str, list[str]] = {"rises": [], "drops": [], "may go either way": []}
    for row in trends(frame, metric).itertuples():
        if row.method in _FOLLOWED:
            _, low, high = row.change
            verdict = difference_verdict(low, high, "rises", "drops").replace("inconclusive", "may go either way")
            methods[verdict].append(NAMES[row.method])
    return "; ".join(f"{verdict} for {', '.join(names)}" for verdict, names in methods.items() if names)


def _trend_cells(row: pd.Series) -> list[str]:
    """The cells of one metric; empty but for the value where there is one trained checkpoint."""
    if pd.isna(row.change[0]):
        return [f"{row['last'] * 100:.0f}", "", ""]
    slope, least, most = (round(value * 100, 1) + 0 for value in row.slope)  # + 0: no minus before a zero
    return [
        f"{row['first'] * 100:.0f}, {row['last'] * 100:.0f}",
        points_cell(*row.change),
        f"{slope:+.1f}" + ("" if pd.isna(least) else f"<br>[{least:.1f}, {most:.1f}]"),
    ]
