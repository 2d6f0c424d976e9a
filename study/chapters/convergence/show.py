"""Figure 5, and the sentences that read it."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from study.chapters.convergence.measure import trends
from study.config import Run
from study.methods import COLOURS, NAMES
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


@with_style
def trends_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Coverage of the untouched adapter, at the first trained checkpoint and at the last, a panel a data set; bars are
    intervals of what changes up to the last. Leaves fig_trends.*."""
    coverage = trends(frame, "coverage")
    datasets, places = coverage.dataset.unique(), {"untouched": 0, "first": 1, "last": 2}
    figure, axes = plt.subplots(1, len(datasets), figsize=(7.2, 2.4), sharey=True, squeeze=False)
    for axis, dataset in zip(axes.flat, datasets, strict=True):
        for row in coverage[(coverage.dataset == dataset) & coverage.method.isin(_FOLLOWED)].itertuples():
            values = [100 * getattr(row, place) for place in places]
            colour, shift = COLOURS[row.method], 0.05 * (_FOLLOWED.index(row.method) - 1.5)
            x = [place + shift for place in places.values()]
            axis.plot(x, values, marker="o", markersize=3.5, color=colour, label=NAMES[row.method])
            for place, (_, low, high) in zip(x, (row.taught, row.change), strict=False):
                axis.plot([place] * 2, [values[-1] - 100 * end for end in (low, high)], color=colour, linewidth=0.8)
        axis.set_title(DATASETS[dataset])
        axis.set_xticks(list(places.values()), ["before", "first", "last"])
        axis.set_xlim(-0.3, 2.3)
    low, high = axes[0, 0].get_ylim()
    axes[0, 0].set_ylim(max(low, -5), min(high, 105))  # the interval of a change may reach beyond any share
    axes[0, 0].set_ylabel("coverage (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    return save(run, "fig_trends", figure, ("fig5_convergence",))


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
    return Table(None, caption, header, rows, frame, folded="From the first trained checkpoint to the last, in numbers")


def convergence_text(frame: pd.DataFrame) -> Prose:
    """Which way coverage and accuracy move along fine-tuning, data set by data set, beside the paper's words."""
    lines = [
        f"- {DATASETS[dataset]}: {_directions(part, 'coverage')}. {_directions(part, 'accuracy')}. "
        f"In the paper the accuracy of influence functions {stated('figure5', dataset)}."
        for dataset, part in frame.groupby("dataset", sort=False)
    ]
    followed = frame[frame.metric == "followed"].dropna(subset="value")
    return Prose("\n".join([*lines, *(["", _followed_line(followed)] if len(followed) else [])]))


def before_text(frame: pd.DataFrame) -> Prose:
    """What each method finds at step 0, before any training example was seen, and where fine-tuning changes that."""
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        rows = [row for row in trends(part, "coverage").itertuples() if row.method in _FOLLOWED]
        coverages = [f"{NAMES[row.method]} {row.untouched * 100:.0f}" for row in rows if not pd.isna(row.untouched)]
        moved = [
            f"{NAMES[row.method]} by {points(*row.taught)}"
            for row in rows
            if difference_verdict(row.taught[1], row.taught[2], "more", "less") != "inconclusive"
        ]
        if coverages:
            change = f"fine-tuning moves {', '.join(moved)}" if moved else "fine-tuning changes none clearly"
            lines.append(f"- {DATASETS[dataset]}: {', '.join(coverages)} % before; {change}.")
    return Prose("\n".join(lines))


_FOLLOWED = ("datainf", "gradsim", "exact", "repsim")


def _followed_line(rows: pd.DataFrame) -> str:
    """Whether DataInf's scores change as GradSim's do: by the mean over data sets, whose interval is over them."""
    by_dataset = rows.groupby("dataset", sort=False).value.mean()
    low, high = interval_of_mean(by_dataset)
    verdict = difference_verdict(low - ALIKE, high - ALIKE, "above", "below").replace(
        "inconclusive", "not clearly apart from"
    )
    values = ", ".join(f"{DATASETS[dataset]} {value:.2f}" for dataset, value in by_dataset.items())
    return (
        f"From one trained checkpoint to the next the scores of DataInf and GradSim change with a rank correlation of "
        f"{by_dataset.mean():.2f}{interval(low, high)} over data sets, {verdict} {ALIKE}: {values}."
    )


def _directions(frame: pd.DataFrame, metric: str) -> str:
    """`Coverage rises for A; drops for B`: which way a metric moves on one data set, where its interval says so."""
    methods: dict[str, list[str]] = {"rises": [], "drops": []}
    rows = [row for row in trends(frame, metric).itertuples() if row.method in _FOLLOWED]
    for row in rows:
        value, low, high = row.change
        if (verdict := difference_verdict(low, high, "rises", "drops")) in methods:
            methods[verdict].append(f"{NAMES[row.method]} ({points(value, low, high)})")
    parts = [f"{verdict} for {', '.join(names)}" for verdict, names in methods.items() if names]
    values = frame[(frame.metric == metric) & frame.method.isin(_FOLLOWED)].value
    if len(values) and (values == 1).all():
        return f"{metric.capitalize()} is 100 % throughout"
    return f"{metric.capitalize()} {'; '.join(parts)}" if parts else f"No clear change of {metric}"


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
