"""The figures and tables of the counterfactual chapter, and the sentences that read them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import matplotlib
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study import statistics
from study.chapters.counterfactual.datamodels import CEILING, ITSELF
from study.chapters.counterfactual.removal import RETRAINING
from study.chapters.counterfactual.sets import ORACLE
from study.config import Run
from study.pipeline.baselines import BASELINES
from study.report.colours import COLOURS
from study.report.names import DATASETS, NAMES
from study.report.plot import STYLE, save
from study.report.table import Prose, Table, control, interval, significant, whole, with_published

_ROWS = NAMES | {ORACLE: "Oracle"}
_BLACK = "black"

Estimate = tuple[float, float, float]


def removal_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """How far the held-out loss rises without what each method ranks highest, a panel a count. Leaves fig_removal.*."""
    counts = sorted(set(frame.removed) - {0})
    noise = _noise(frame)
    with matplotlib.rc_context(STYLE):
        names = _named(frame)
        figure, axes = _panels(len(counts), names)
        for axis, count in zip(axes, counts, strict=True):
            axis.axvspan(-2 * noise, 2 * noise, color="#EEEEEE", linewidth=0)
            part = frame[(frame.removed == count) & (frame.metric == "rise") & (frame.against == ITSELF)]
            _forest(axis, part, names, _pooled)
            axis.set_title(f"without {count} of {part.n_train.iloc[0]}")
        figure.supxlabel("rise of the held-out loss (nats per token)", fontsize=9)
        save(run, "fig_removal", figure, ("removal",))
    return figure


def removal_table(frame: pd.DataFrame) -> Table:
    """What goes, and what that does to loss and behaviour. From removal.csv."""
    counts, rows = sorted(set(frame.removed) - {0}), []
    for method in _named(frame):
        cells = []
        for count in counts:
            found, rise, change = (_row(frame, method, metric, count) for metric in ("found", "rise", "success"))
            cells.append(with_published(whole(_pooled(found)[0]), found, write=whole))
            cells.append(with_published(_cell(_pooled(rise)), rise, write=lambda value: f"{value:.2f}"))
            points, low, high = (100 * each for each in statistics.pooled(change))
            cells.append(with_published(f"{points:+.0f}<br>[{low:.0f}, {high:.0f}]", change, write=whole))
        row = [_ROWS[method], *cells]
        rows.append(list(map(control, row)) if method in BASELINES else row)
    part = frame[frame.metric == "rise"]
    caption = (
        f"Without the training examples that a method ranks highest, of {part.n_train.iloc[0]}: how many of them are "
        "harmful (percent), by how much the loss of the held-out harmful requests rises (nats per response token), and "
        "the change of the attack's success rate (points); 95 % intervals over requests; of several seeds, over these. "
        "Random is the mean of its draws. Training again from another seed moves the mean loss by "
        f"{_noise(frame):.3f} (s.d.)."
    )
    header = ["Removed by"]
    for count in counts:
        header += [f"{count}: harmful", "rise", "ASR"]
    return Table(None, caption, header, rows, frame)


def removal_text(frame: pd.DataFrame) -> Prose:
    """Count by count: which methods remove more than every control, and how far RepSim is ahead of the others."""
    lines = []
    for count in sorted(set(frame.removed) - {0}):
        of = frame[(frame.metric == "rise") & (frame.removed == count)]
        beating, methods = _beating(of), _methods(of)
        best = max(methods, key=lambda name, of=of: _estimate(of, name, ITSELF)[0])
        oracle, largest = _estimate(of, ORACLE, ITSELF)[0], _estimate(of, best, ITSELF)[0]
        sure = [name for name in methods if name != best and _estimate(of, best, name)[1] > 0]
        told = (
            f"- Of {count} removed: {_subject(beating)} {'raise' if len(beating) > 1 else 'raises'} the loss by more "
            f"than every control. The largest rise among methods is {NAMES[best]}'s, {significant(largest)} nats"
        )
        told += f", by its interval ahead of {_listed(sure)}" if sure else ", by its interval ahead of no other"
        compared = "more than" if oracle > largest else "as much as" if oracle == largest else "less than"
        lines.append(f"{told}. The oracle's is {significant(oracle)}, {compared} that.")
    return Prose("\n".join(lines))


def lds_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """The linear datamodeling score of each method, a panel a data set. Leaves fig_lds.*."""
    datasets = list(frame.dataset.unique())
    with matplotlib.rc_context(STYLE):
        names = _named(frame)
        figure, axes = _panels(len(datasets), names)
        for axis, dataset in zip(axes, datasets, strict=True):
            part = frame[(frame.dataset == dataset) & (frame.metric == "lds")]
            ceiling = part[part.method == CEILING]
            if len(ceiling):
                axis.axvline(ceiling.value.mean(), color=_BLACK, linewidth=0.8, linestyle=":")
            _forest(axis, part[part.against == ITSELF], names, statistics.pooled)
            axis.set_title(DATASETS[dataset])
        figure.supxlabel("linear datamodeling score", fontsize=9)
        save(run, "fig_lds", figure, ("lds",))
    return figure


def lds_text(frame: pd.DataFrame) -> Prose:
    """Data set by data set: which methods predict retraining better than every control; RepSim beside them."""
    lines = []
    for dataset in frame.dataset.unique():
        of = frame[(frame.dataset == dataset) & (frame.metric == "lds")]
        methods, beating = _methods(of), _beating(of)
        best = max(methods, key=lambda name, of=of: _estimate(of, name, ITSELF)[0])
        top = _estimate(of, best, ITSELF)
        near = {name: round(_estimate(of, name, ITSELF)[0], 2) for name in methods}
        level = [name for name in methods if name != best and near[name] == near[best]]
        tied = f" (as high: {_listed(level)})" if level else ""
        told = (
            f"- {DATASETS[dataset]}: {_subject(beating)} {'predict' if len(beating) > 1 else 'predicts'} retraining "
            f"better than every control; the highest score is {NAMES[best]}'s, {_plain(top)}{tied}"
        )
        if "repsim" not in (best, *level):
            told += f", and RepSim has {_plain(_estimate(of, 'repsim', ITSELF))}"
        ceiling = of[of.method == CEILING]
        if len(ceiling):
            told += f". Another seed's losses on the same halves have {_plain(statistics.pooled(ceiling))}"
            told += ", the ceiling" if ceiling.value.mean() > top[0] else ", less than that"
        lines.append(told + ".")
    return Prose("\n".join(lines))


def left_out_text(frame: pd.DataFrame) -> Prose:
    """Scores against leaving out one example at a time, where that was done."""
    of = frame[frame.metric == "loo"]
    if of.empty:
        return Prose("In this profile no example is left out by itself; the profile `evening` leaves out each.")
    named = [f"{_ROWS[name]} {_plain(_estimate(of, name, ITSELF))}" for name in _named(of)]
    clear = [_ROWS[name] for name in _named(of) if _estimate(of, name, ITSELF)[1] > 0]
    return Prose(
        "**One at a time.** Mean rank correlation of a score with the rise of an explained example's loss without one "
        f"training example: {'; '.join(named)}. Above 0 by the interval: {', '.join(clear) or 'none'}."
    )


def answer_text(removal: pd.DataFrame, lds: pd.DataFrame) -> Prose:
    """Which methods do both: predict retraining and find what to remove, better than all that cannot know."""
    counts = sorted(set(removal.removed) - {0})
    tables = [removal[(removal.metric == "rise") & (removal.removed == count)] for count in counts]
    tables += [lds[(lds.dataset == dataset) & (lds.metric == "lds")] for dataset in lds.dataset.unique()]
    both = [name for name in _methods(tables[0]) if all(name in _beating(of) for of in tables)]
    seeds = removal.seed.nunique() if "seed" in removal else 1
    scope = "in this seed" if seeds == 1 else f"over {seeds} seeds"
    if not both:
        return Prose(f"**{scope.capitalize()} no method is ahead of every control in all of this page's comparisons.**")
    return Prose(f"**{scope.capitalize()} {_listed(both)} beat every control in all of this page's comparisons.**")


def _panels(count: int, names: list[str]):
    figure, axes = plt.subplots(1, count, figsize=(7.2, 0.7 + 0.2 * len(names)), sharey=True, squeeze=False)
    axes[0, 0].set_ylim(-0.6, len(names) - 0.4)
    axes[0, 0].set_yticks(range(len(names)), [_ROWS[name] for name in names[::-1]])
    return figure, axes[0]


def _forest(axis: Axes, rows: pd.DataFrame, names: list[str], pooled: Callable[[pd.DataFrame], Estimate]) -> None:
    axis.axvline(0, color=_BLACK, linewidth=0.6)
    for place, name in enumerate(names[::-1]):
        if not (of := rows[rows.method == name]).empty:
            value, low, high = pooled(of)
            colour = COLOURS.get(name, _BLACK)
            axis.plot([low, high], [place, place], color=colour, linewidth=1)
            axis.plot(value, place, marker="o", markersize=3.5, color=colour)


def _named(frame: pd.DataFrame) -> list[str]:
    return [name for name in _ROWS if name in set(frame.method)]


def _methods(frame: pd.DataFrame) -> list[str]:
    return [name for name in NAMES if name in set(frame.method) and name not in BASELINES]


def _beating(of: pd.DataFrame) -> list[str]:
    """The methods ahead of every control of a table by the interval."""
    controls = [name for name in BASELINES if name in set(of.method)]
    return [name for name in _methods(of) if all(_estimate(of, name, each)[1] > 0 for each in controls)]


def _estimate(of: pd.DataFrame, method: str, against: str) -> Estimate:
    return _pooled(of[(of.method == method) & (of.against == against)])


def _row(frame: pd.DataFrame, method: str, metric: str, count: int) -> pd.DataFrame:
    part = frame[(frame.metric == metric) & (frame.removed == count) & (frame.against == ITSELF)]
    return part[part.method == method]


def _pooled(rows: pd.DataFrame) -> Estimate:
    """Of one seed its own interval, of several Student's over seeds; a loss need not stay below 1."""
    if len(rows) == 1:
        return tuple(rows[["value", "ci_low", "ci_high"]].iloc[0].astype(float))
    return float(rows.value.mean()), *statistics.interval_of_mean(rows.value)


def _noise(frame: pd.DataFrame) -> float:
    return float(frame[(frame.method == RETRAINING) & (frame.metric == "noise")].value.mean())


def _cell(estimate: Estimate) -> str:
    value, low, high = estimate
    value, low, high = (round(each, 2) + 0 for each in (value, low, high))  # + 0: no minus before a zero
    return f"{value:+.2f}" + ("" if pd.isna(low) else f"<br>[{low:.2f}, {high:.2f}]")


def _plain(estimate: Estimate) -> str:
    """A correlation with its interval, which of few seeds may be longer than such a number can be."""
    value, low, high = estimate
    return f"{value:.2f}{interval(max(low, -1), min(high, 1))}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_ROWS[name] for name in names)


def _subject(names: Iterable[str]) -> str:
    return _listed(names) or "no method"
