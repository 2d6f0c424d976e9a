"""The figures of the sensitivity chapter, its table of fine-tunes, and the sentences that read them."""

from __future__ import annotations

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from study import statistics
from study.chapters.sensitivity.grid import REFERENCE
from study.config import Run
from study.paper import paper
from study.report.colours import COLOURS
from study.report.names import DATASETS, NAMES
from study.report.plot import STYLE, band, draw, grid, save, within
from study.report.table import Prose, Table, percent, points, whole, with_published

NEAR = 0.1  # of the way from chance to 100 %: what counts as the paper's result, fixed before this page's
_DAMPED = ("datainf", "lissa", "exact", "relatif")


def cells_table(run: Run, frame: pd.DataFrame) -> Table:
    """Each fine-tune: how well it learnt, and accuracy and coverage of the methods as chapter 3 has them."""
    standard = _standard(run, frame)
    methods = [name for name in ("gradsim", "cosine", "datainf", "exact", "repsim") if name in set(standard.method)]
    rows = []
    for (dataset, rate, epochs), part in standard.groupby(["dataset", "learning_rate", "epochs"], sort=False):
        tuned = part[part.method == "fine-tune"]
        right, loss = (tuned[tuned.metric == metric] for metric in ("task_accuracy", "train_loss"))
        chance = part[(part.method == "chance") & (part.metric == "accuracy")].value.mean()
        cells = []
        for method in methods:
            both = [part[(part.method == method) & (part.metric == metric)] for metric in ("accuracy", "coverage")]
            cells.append(with_published(" / ".join(whole(each.value.mean()) for each in both), *both, write=whole))
        about = [
            _rate(rate),
            str(epochs),
            with_published(f"{loss.value.mean():.2f}", loss, write="{:.2f}".format),
            with_published(percent(right.value.mean()), right),
        ]
        rows.append([DATASETS[dataset], *about, *cells, whole(chance)])
    seeds = frame.seed.nunique()
    caption = "Accuracy / coverage in percent of the fine-tunes" + (f", mean over {seeds} seeds." if seeds > 1 else ".")
    caption += " Loss: the last epoch's, in nats per response token; right: validation prompts that are answered right."
    header = ["Task", "Learning rate", "Epochs", "Loss", "Right (%)", *(NAMES[name] for name in methods), "Chance"]
    return Table(None, caption, header, rows, frame)


def effects_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """By how much each choice moves coverage, a panel a data set. Leaves fig_sensitivity.*."""
    part = frame[frame.metric == "coverage"]
    changes, datasets = list(dict.fromkeys(part.change))[::-1], list(part.dataset.unique())
    with matplotlib.rc_context(STYLE):
        figure, axes = plt.subplots(
            1, len(datasets), figsize=(7.2, 0.9 + 0.42 * len(changes)), sharex=True, sharey=True, squeeze=False
        )
        for axis, dataset in zip(axes.flat, datasets, strict=True):
            axis.axvline(0, color="black", linewidth=0.6)
            for place, change in enumerate(changes):
                rows = part[(part.dataset == dataset) & (part.change == change)]
                methods = list(dict.fromkeys(rows.method))
                for shift, method in enumerate(methods):
                    value, low, high = (100 * each for each in statistics.pooled(rows[rows.method == method]))
                    y = place + 0.36 - 0.72 * (shift + 0.5) / len(methods)
                    axis.plot([low, high], [y, y], color=COLOURS[method], linewidth=1)
                    axis.plot(value, y, marker="o", markersize=3, color=COLOURS[method])
                if place:
                    axis.axhline(place - 0.5, color="#EEEEEE", linewidth=0.6)
            axis.set_title(DATASETS[dataset])
            axis.set_yticks(range(len(changes)), changes)
        within(axes[0, 0])
        figure.supxlabel("coverage moves by (points)", fontsize=9)
        figure.legend(
            handles=[_handle(method) for method in NAMES if method in set(part.method)],
            loc="outside upper center",
            ncols=4,
            frameon=False,
        )
        save(run, "fig_sensitivity", figure, ("sensitivity_effects",))
    return figure


def damping_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Coverage along the damping, a column a data set, a row a fine-tune. Leaves fig_damping.*."""
    kept = frame[(frame.loss == "response") & (frame.target == REFERENCE) & (frame.metric == "coverage")]
    datasets = list(kept.dataset.unique())
    cells = list(kept[["learning_rate", "epochs"]].drop_duplicates().itertuples(index=False, name=None))
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(len(datasets), len(cells))
        for column, dataset in enumerate(datasets):
            for row, (rate, epochs) in enumerate(cells):
                part = kept[(kept.dataset == dataset) & (kept.learning_rate == rate) & (kept.epochs == epochs)]
                for method in _DAMPED:
                    each = part[(part.method == method) & part.damping.notna()]
                    if len(each):
                        draw(axes[row, column], band(each, "damping"), COLOURS[method], NAMES[method], 100)
                for method in ("gradsim", "cosine"):
                    level, style = 100 * part[part.method == method].value.mean(), {"linewidth": 1, "linestyle": ":"}
                    axes[row, column].axhline(level, color=COLOURS[method], label=NAMES[method], **style)
                axes[row, 0].set_ylabel(f"coverage (%)\nat {_rate(rate)}, {epochs} epochs")
            axes[0, column].set_title(DATASETS[dataset])
            axes[-1, column].set_xscale("log")
        figure.supxlabel("damping (of the mean squared gradient)", fontsize=9)
        for axis in axes[:, 0]:
            axis.set_ylim(0, 104)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
        save(run, "fig_damping", figure, ("sensitivity",))
    return figure


def hubs_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Hubs along fine-tuning, a column a data set. Leaves fig_hubs.*."""
    along = frame[frame.learning_rate.isna()]
    titles = {
        "hub": "validation examples\nwith one on top (%)",
        "spread": "largest norm over\nthe median",
        "norm_loss": "correlation of\nnorm and loss",
        "loss": "training loss\n(nats per token)",
    }
    with matplotlib.rc_context(STYLE):
        figure, axes = grid(along.dataset.nunique(), len(titles))
        for column, (dataset, part) in enumerate(along.groupby("dataset", sort=False)):
            for row, (metric, title) in enumerate(titles.items()):
                for method in ("gradsim", "cosine") if metric == "hub" else ("gradients",):
                    each = part[(part.method == method) & (part.metric == metric)]
                    colour, name = COLOURS.get(method, "black"), NAMES.get(method, "gradients")
                    draw(axes[row, column], band(each, "step"), colour, name, 100 if metric == "hub" else 1)
                axes[row, 0].set_ylabel(title)
            axes[0, column].set_title(DATASETS[dataset])
            axes[-1, column].set_xlabel("step")
        axes[0, 0].set_ylim(0, 104)
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
        save(run, "fig_hubs", figure, ("sensitivity_hubs",))
    return figure


def paper_text(frame: pd.DataFrame) -> Prose:
    """What it takes to get the paper's Grammars result, GradSim near chance, or that nothing tried does."""
    printed = paper()["released"]["table3"]["grammars_rule"]
    theirs = printed["scores"]["Llama-2-7B-chat"]["gradsim"]
    ways = frame[(frame.method == "gradsim") & frame.dataset.str.startswith("grammars")]
    if ways.empty:
        return Prose("No form of Grammars is among this profile's fine-tunes, so nothing is said of that result.")
    where = ["dataset", "learning_rate", "epochs", "loss", "target"]
    values = ways.pivot_table(index=where, columns="metric", values="value", sort=False)
    chance = frame[(frame.method == "chance") & (frame.metric == "accuracy")].groupby("dataset").value.first()
    right = frame[frame.metric == "task_accuracy"].set_index([*where[:3], "method"])
    learnt = right.xs("fine-tune", level=3).groupby(where[:3]).ci_low.mean()
    learnt = learnt > right.xs("constant", level=3).groupby(where[:3]).value.mean()
    right = right.xs("fine-tune", level=3).groupby(where[:3]).value.mean()
    level = chance[values.index.get_level_values("dataset")].to_numpy()
    above = values[["accuracy", "coverage"]].sub(level, axis=0).div(1 - level, axis=0).max(axis=1)
    taught = above[[learnt[way[:3]] for way in above.index]]
    best = (taught if len(taught) else above).idxmin()
    least = values.loc[best]
    told = (
        f"{DATASETS[best[0]]} at learning rate {_rate(best[1])}, {best[2]} epochs, the loss on {_LOSS[best[3]]}, "
        f"{_TARGET[best[4]]} explained: GradSim {100 * least.accuracy:.0f}/{100 * least.coverage:.0f} with chance at "
        f"{100 * chance[best[0]]:.0f}, {100 * right[best[:3]]:.0f} % of the prompts answered right"
    )
    head = (
        f"The scores released with the paper's code give GradSim {theirs['accuracy']:.0f}/{theirs['coverage']:.0f} on "
        f"Grammars, chance being {printed['chance']:.0f}. "
    )
    near, missed = int((taught <= NEAR).sum()), above.drop(taught.index)
    if not len(taught):
        verdict = f"**No fine-tune here learnt the task, so this run decides nothing; the nearest is {told}.**"
    elif near:
        come = "comes" if near == 1 else "come"
        verdict = f"**On this model {near} of {len(taught)} ways tried, where the task is learnt, {come} as near to "
        verdict += f"chance (a tenth of the way to 100 % at most, in both); the nearest is {told}.**"
    else:
        verdict = (
            f"**Nothing tried here gives that where the task is learnt: of {len(taught)} ways none leaves GradSim "
        )
        verdict += f"within a tenth of the way from chance to 100 % in both measures; the nearest is {told}.**"
    if len(missed):
        near = int((missed <= NEAR).sum())
        verdict += f" Where it is not learnt, {near} of {len(missed)} have GradSim that near to chance."
    return Prose(head + verdict)


def effects_text(frame: pd.DataFrame) -> Prose:
    """The choices that move coverage of a data set for certain, the largest move first."""
    lines = []
    for dataset, part in frame[frame.metric == "coverage"].groupby("dataset", sort=False):
        moves = []
        for (change, method), rows in part.groupby(["change", "method"], sort=False):
            value, low, high = statistics.pooled(rows)
            moves.append((value, low, high, change, method))
        certain = sorted((move for move in moves if move[1] > 0 or move[2] < 0), key=lambda move: -abs(move[0]))
        told = [f"{change}: {NAMES[method]} {points(*ends)}" for *ends, change, method in certain[:6]]
        largest = f" The largest moves: {'; '.join(told)}." if told else ""
        lines.append(
            f"- {DATASETS[dataset]}: {len(certain)} of {len(moves)} choices move coverage, by an interval that leaves "
            f"out 0; by chance about {0.05 * len(moves):.0f} would.{largest}"
        )
    return Prose("\n".join(lines))


def damping_text(run: Run, frame: pd.DataFrame) -> Prose:
    """How far coverage of each method moves with damping alone, which no approximation explains."""
    kept = frame[(frame.loss == "response") & (frame.target == REFERENCE) & (frame.metric == "coverage")]
    kept = kept[kept.damping.notna()]
    lines = []
    for dataset, part in kept.groupby("dataset", sort=False):
        told = []
        for method in _DAMPED:
            means = 100 * part[part.method == method].groupby("damping").value.mean()
            best, ours = means.idxmax(), run.profile.damping
            told.append(f"{NAMES[method]} {means[ours]:.0f} % at {ours:g}, {means[best]:.0f} % at {best:g}")
        lines.append(
            f"- {DATASETS[dataset]}, coverage at this book's damping and at its best one, mean of the fine-tunes: "
            f"{'; '.join(told)}."
        )
    return Prose("\n".join(lines))


def hubs_text(frame: pd.DataFrame) -> Prose:
    """Whether hubs grow as examples are learnt, and whether a cosine has fewer."""
    lines = []
    along = frame[frame.learning_rate.isna()]
    for dataset, part in along.groupby("dataset", sort=False):
        part = part[part.epochs > 0]
        first, last = part[part.step == part.step.min()], part[part.step == part.step.max()]
        at = [each.groupby(["method", "metric"]).value.mean() for each in (first, last)]
        hub, cosine = ([100 * each[method, "hub"] for each in at] for method in ("gradsim", "cosine"))
        spread = [each["gradients", "spread"] for each in at]
        lines.append(
            f"- {DATASETS[dataset]}: from the first trained checkpoint to the last one training example tops "
            f"{hub[0]:.0f} → {hub[1]:.0f} % of the validation examples for GradSim, {cosine[0]:.0f} → {cosine[1]:.0f} "
            f"% for its cosine; the largest norm is {spread[0]:.1f} → {spread[1]:.1f} times the median; norm and loss "
            f"correlate with {at[1]['gradients', 'norm_loss']:.2f} at the last."
        )
    cells = frame[frame.learning_rate.notna()]
    for dataset, part in cells.groupby("dataset", sort=False):
        of = part[part.metric == "hub"]
        wide = of.pivot_table(index=["learning_rate", "epochs"], columns="method", values="value")
        told = [
            f"{100 * row.gradsim:.0f} and {100 * row.cosine:.0f} % at {_rate(rate)}, {epochs:.0f} epochs"
            for (rate, epochs), row in wide.iterrows()
        ]
        lines.append(f"- {DATASETS[dataset]}, fine-tunes of this page, GradSim and its cosine: {'; '.join(told)}.")
    return Prose("\n".join(lines))


_LOSS = {"response": "the response", "all": "all tokens", "padded": "padding, too"}
_TARGET = {"reference": "the data's response", "own": "the model's own answer"}


def _standard(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of choices as chapter 3 makes them, and those of no choice at all."""
    chosen = (frame.loss == "response") & (frame.target == REFERENCE)
    chosen &= frame.damping.isna() | (frame.damping == run.profile.damping)
    chosen &= frame.position.isna() | (frame.position == "prompt_end")
    return frame[chosen | frame.loss.isna()]


def _rate(value: float) -> str:
    """As papers write it, 5e-5."""
    return f"{value:g}".replace("e-0", "e-")


def _handle(method: str):
    return plt.Line2D([], [], marker="o", markersize=3, color=COLOURS[method], label=NAMES[method])
