"""The figures of the sensitivity chapter, its table of fine-tunes, and the sentences that read them."""

import pandas as pd
from matplotlib.figure import Figure

from study import statistics
from study.chapters.sensitivity.grid import REFERENCE
from study.config import Run
from study.methods import COLOURS, NAMES
from study.paper import paper
from study.report.names import DATASETS
from study.report.plot import Interval, band, draw, draw_methods, forest, grid, save, with_style
from study.report.table import Prose, Table, percent, points, whole, with_published

NEAR = 0.1  # of the way from chance to 100 %: what counts as the paper's result, fixed before this page's
_DAMPED = ("datainf", "lissa", "exact", "relatif")
_LOSS = {"response": "the response", "all": "all tokens", "padded": "padding, too"}
_TARGET = {"reference": "the data's response", "own": "the model's own answer"}


def cells_table(run: Run, frame: pd.DataFrame) -> Table:
    """Each fine-tune: how well it learnt, and accuracy and coverage of the methods as chapter 3 has them."""
    standard = _standard(run, frame)
    methods = [name for name in ("gradsim", "cosine", "datainf", "exact", "repsim") if name in set(standard.method)]
    rows = []
    for (dataset, rate, epochs), part in standard.groupby(["dataset", "learning_rate", "epochs"], sort=False):
        by_score = dict(list(part.groupby(["method", "metric"])))  # the rows of each
        loss, right = by_score["fine-tune", "train_loss"], by_score["fine-tune", "task_accuracy"]
        cells = [DATASETS[dataset], _rate(rate), str(epochs)]
        cells.append(with_published(f"{loss.value.mean():.2f}", loss, write="{:.2f}".format))
        cells.append(with_published(percent(right.value.mean()), right))
        for method in methods:
            pair = [by_score[method, metric] for metric in ("accuracy", "coverage")]
            cells.append(with_published(" / ".join(whole(each.value.mean()) for each in pair), *pair, write=whole))
        rows.append([*cells, whole(by_score["chance", "accuracy"].value.mean())])
    count = frame.seed.nunique()
    caption = "Accuracy / coverage in percent of the fine-tunes" + (f", mean over {count} seeds." if count > 1 else ".")
    caption += " Loss: the last epoch's, in nats per response token; right: validation prompts that are answered right."
    header = ["Task", "Learning rate", "Epochs", "Loss", "Right (%)", *(NAMES[name] for name in methods), "Chance"]
    return Table(None, caption, header, rows, frame, folded="The fine-tunes, in numbers")


@with_style
def effects_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """By how much each choice moves coverage, a panel a data set. Leaves fig_sensitivity.*."""
    coverage = frame[frame.metric == "coverage"]
    changes = list(dict.fromkeys(coverage.change))[::-1]
    panels: dict[str, list[Interval]] = {DATASETS[dataset]: [] for dataset in coverage.dataset.unique()}
    for place, change in enumerate(changes):
        for dataset, part in coverage[coverage.change == change].groupby("dataset"):
            for shift, (method, rows) in enumerate(part.groupby("method", sort=False)):
                within = place + 0.36 - 0.72 * (shift + 0.5) / part.method.nunique()
                panels[DATASETS[dataset]].append((within, statistics.pooled(rows), {"color": COLOURS[method]}))
    figure, _ = forest(
        panels,
        changes,
        "coverage moves by (points)",
        margin=0.9,
        row_height=0.42,
        in_points=True,
        rules={place - 0.5: "#EEEEEE" for place in range(1, len(changes))},
        legend={NAMES[name]: {"color": COLOURS[name]} for name in NAMES if name in set(coverage.method)},
    )
    return save(run, "fig_sensitivity", figure, ("sensitivity_effects",))


@with_style
def damping_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Coverage along the damping, a column a data set, a row a fine-tune. Leaves fig_damping.*."""
    coverage = _coverage(frame)
    fine_tunes = list(coverage[["learning_rate", "epochs"]].drop_duplicates().itertuples(index=False, name=None))
    figure, axes = grid(coverage.dataset.nunique(), len(fine_tunes))
    for column, (dataset, rows) in zip(axes.T, coverage.groupby("dataset", sort=False), strict=True):
        for axis, (rate, epochs) in zip(column, fine_tunes, strict=True):
            part = rows[(rows.learning_rate == rate) & (rows.epochs == epochs)]
            draw_methods(axis, part[part.damping.notna()], "damping", _DAMPED, 100)
            for method in ("gradsim", "cosine"):
                level = 100 * part[part.method == method].value.mean()
                axis.axhline(level, color=COLOURS[method], label=NAMES[method], linewidth=1, linestyle=":")
        column[0].set_title(DATASETS[dataset])
        column[-1].set_xscale("log")
    figure.supxlabel("damping (of the mean squared gradient)", fontsize=9)
    for axis, (rate, epochs) in zip(axes[:, 0], fine_tunes, strict=True):
        axis.set(ylabel=f"coverage (%)\nat {_rate(rate)}, {epochs} epochs", ylim=(0, 104))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    return save(run, "fig_damping", figure, ("sensitivity",))


@with_style
def hubs_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Hubs along fine-tuning, a column a data set. Leaves fig_hubs.*."""
    along = frame[frame.learning_rate.isna()]
    titles = {
        "hub": "validation examples\nwith one on top (%)",
        "spread": "largest norm over\nthe median",
        "norm_loss": "correlation of\nnorm and loss",
        "loss": "training loss\n(nats per token)",
    }
    figure, axes = grid(along.dataset.nunique(), len(titles))
    for column, (dataset, part) in zip(axes.T, along.groupby("dataset", sort=False), strict=True):
        column[0].set_title(DATASETS[dataset])
        column[-1].set_xlabel("step")
        for axis, metric in zip(column, titles, strict=True):
            for method, rows in part[part.metric == metric].groupby("method", sort=False):
                colour, name = COLOURS.get(method, "black"), NAMES.get(method, "gradients")
                draw(axis, band(rows, "step"), colour, name, 100 if metric == "hub" else 1)
    for axis, title in zip(axes[:, 0], titles.values(), strict=True):
        axis.set_ylabel(title)
    axes[0, 0].set_ylim(0, 104)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    return save(run, "fig_hubs", figure, ("sensitivity_hubs",))


def paper_text(frame: pd.DataFrame) -> Prose:
    """What it takes to get the paper's Grammars result, GradSim near chance, or that nothing tried does."""
    printed = paper()["released"]["table3"]["grammars_rule"]
    scores = printed["scores"]["Llama-2-7B-chat"]["gradsim"]
    gradsim = frame[(frame.method == "gradsim") & frame.dataset.str.startswith("grammars")]
    if gradsim.empty:
        return Prose("No form of Grammars is among this profile's fine-tunes, so nothing is said of that result.")
    ways = _ways(frame, gradsim)
    learnt, missed = ways[ways.learnt], ways[~ways.learnt]
    near, nearest = int((learnt.above <= NEAR).sum()), _nearest(learnt if len(learnt) else ways)
    if learnt.empty:
        verdict = f"**No fine-tune here learnt the task, so this run decides nothing; the nearest is {nearest}.**"
    elif near:
        verdict = (
            f"**On this model {near} of {len(learnt)} ways tried, where the task is learnt, "
            f"{'comes' if near == 1 else 'come'} as near to chance (a tenth of the way to 100 % at most, in both); the "
            f"nearest is {nearest}.**"
        )
    else:
        verdict = (
            f"**Nothing tried here gives that where the task is learnt: of {len(learnt)} ways none leaves GradSim "
            f"within a tenth of the way from chance to 100 % in both measures; the nearest is {nearest}.**"
        )
    if len(missed):
        near = int((missed.above <= NEAR).sum())
        verdict += f" Where it is not learnt, {near} of {len(missed)} have GradSim that near to chance."
    return Prose(
        f"The scores released with the paper's code give GradSim {scores['accuracy']:.0f}/{scores['coverage']:.0f} on "
        f"Grammars, chance being {printed['chance']:.0f}. {verdict}"
    )


def effects_text(frame: pd.DataFrame) -> Prose:
    """How many choices move coverage, beside what chance would give, and the largest move of each data set."""
    parts = []
    for dataset, part in frame[frame.metric == "coverage"].groupby("dataset", sort=False):
        groups = part.groupby(["change", "method"], sort=False)
        moves = [(*statistics.pooled(rows), change, method) for (change, method), rows in groups]
        certain = [move for move in moves if move[1] > 0 or move[2] < 0]
        text = f"{len(certain)} of {len(moves)} choices move coverage on {DATASETS[dataset]}"
        text += f" (by chance about {0.05 * len(moves):.0f} would)"
        if certain:
            *ends, change, method = max(certain, key=lambda move: abs(move[0]))
            text += f", most {change}: {NAMES[method]} {points(*ends)}"
        parts.append(text)
    return Prose(f"By intervals that leave out 0, {'; '.join(parts)}.")


def damping_text(run: Run, frame: pd.DataFrame) -> Prose:
    """How far damping alone moves coverage, which no approximation explains."""
    coverage, damping, gains = _coverage(frame), run.profile.damping, []
    for dataset, part in coverage[coverage.damping.notna()].groupby("dataset", sort=False):
        for method in _DAMPED:
            means = 100 * part[part.method == method].groupby("damping").value.mean()
            gains.append((means.max() - means[damping], NAMES[method], DATASETS[dataset], means.idxmax()))
    gain, method, dataset, best = max(gains)
    return Prose(
        f"Choosing the damping by labels would gain at most {gain:.0f} points of coverage over this book's "
        f"{damping:g} ({method} on {dataset}, at {best:g}; mean of the fine-tunes)."
    )


def _ways(frame: pd.DataFrame, gradsim: pd.DataFrame) -> pd.DataFrame:
    """A row for each way of attributing by GradSim, with the `chance` of its data set, how far the higher of accuracy
    and coverage is `above` that on the way to 100 %, and whether the fine-tune `learnt` its task."""
    where = ["dataset", "learning_rate", "epochs"]
    ways = gradsim.pivot_table(index=[*where, "loss", "target"], columns="metric", values="value", sort=False)
    ways = ways.reset_index()
    chance = frame[(frame.method == "chance") & (frame.metric == "accuracy")].groupby("dataset").value.first()
    ways["chance"] = ways.dataset.map(chance)
    shares = ways[["accuracy", "coverage"]].sub(ways.chance, axis=0).div(1 - ways.chance, axis=0)
    task = frame[frame.metric == "task_accuracy"].pivot_table(index=where, columns="method", values=["value", "ci_low"])
    learnt = task["ci_low", "fine-tune"] > task["value", "constant"]
    return ways.assign(above=shares.max(axis=1)).join(
        pd.DataFrame({"right": task["value", "fine-tune"], "learnt": learnt}), on=where
    )


def _nearest(ways: pd.DataFrame) -> str:
    way = ways.loc[ways.above.idxmin()]
    return (
        f"{DATASETS[way.dataset]} at learning rate {_rate(way.learning_rate)}, {way.epochs} epochs, the loss on "
        f"{_LOSS[way.loss]}, {_TARGET[way.target]} explained: GradSim {whole(way.accuracy)}/{whole(way.coverage)} with "
        f"chance at {whole(way.chance)}, {whole(way.right)} % of the prompts answered right"
    )


def _coverage(frame: pd.DataFrame) -> pd.DataFrame:
    """Of the loss and the target that chapter 3 has."""
    return frame[(frame.loss == "response") & (frame.target == REFERENCE) & (frame.metric == "coverage")]


def _standard(run: Run, frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of choices as chapter 3 makes them, and those of no choice at all."""
    chosen = (frame.loss == "response") & (frame.target == REFERENCE)
    chosen &= frame.damping.isna() | (frame.damping == run.profile.damping)
    chosen &= frame.position.isna() | (frame.position == "prompt_end")
    return frame[chosen | frame.loss.isna()]


def _rate(value: float) -> str:
    """As papers write it, 5e-5."""
    return f"{value:g}".replace("e-0", "e-")
