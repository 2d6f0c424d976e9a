"""The forest plot of the chapter on baselines, its table, and the sentences that read them."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import gmean

from study import statistics
from study.config import Run
from study.methods import BASELINES, COLOURS, NAMES
from study.pipeline import judging
from study.pipeline.attributions import Attribution
from study.report.names import DATASETS
from study.report.plot import Interval, forest, save, with_style
from study.report.table import Prose, Table, percent, points, points_cell, times, with_published
from study.schema import ITSELF

TIE = 0.02  # of coverage: less is no lead


@with_style
def forest_figure(run: Run, frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Figure:
    """RepSim minus each other method and baseline, a panel a data set. Leaves fig_controls.*."""
    frame = frame[(frame.method == "repsim") & (frame.against != ITSELF)]
    others = [name for name in NAMES if name in set(frame.against)][::-1]
    panels: dict[str, list[Interval]] = {_title(dataset, attributions): [] for dataset in frame.dataset.unique()}
    for metric, face, shift in (("coverage", {}, 0.17), ("accuracy", {"mfc": "white"}, -0.17)):
        for place, name in enumerate(others):
            rows = frame[(frame.metric == metric) & (frame.against == name)]
            for dataset, gaps in rows.groupby("dataset"):
                interval = (place + shift, statistics.pooled(gaps), {"color": COLOURS[name], **face})
                panels[_title(dataset, attributions)].append(interval)
    figure, _ = forest(
        panels,
        [NAMES[name] for name in others],
        "RepSim ahead by (points)",
        row_height=0.19,
        in_points=True,
        rules={sum(name in BASELINES for name in others) - 0.5: "#CCCCCC"},
        legend={"coverage": {"color": "black"}, "accuracy": {"color": "black", "mfc": "white"}},
    )
    return save(run, "fig_controls", figure, ("controls",))


def ahead_table(frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Table:
    """Each method's coverage less that of the best baseline of each data set."""
    controls = frame[(frame.metric == "coverage") & (frame.against == ITSELF) & frame.method.isin(BASELINES)]
    means = controls.groupby(["dataset", "method"], sort=False).value.mean()
    best = {dataset: means[dataset].idxmax() for dataset in frame.dataset.unique()}
    rows = [["*Best baseline: coverage (%)*"]]
    for dataset, control in best.items():
        values = _coverage(frame, dataset, control, ITSELF)
        rows[0].append(with_published(f"*{NAMES[control]}: {percent(values.value.mean())}*", values))
    for method in _methods(frame):
        gaps = (_coverage(frame, dataset, method, control) for dataset, control in best.items())
        rows.append([NAMES[method], *map(_gap_cell, gaps)])
    caption = (
        "Coverage in points above the best baseline of each data set, with 95 % intervals, paired. The best one is "
        "chosen by the same validation examples, which favours it a little. Bold: ahead; in italics: behind. "
        "†: not learnt."
    )
    header = ["Method", *(_title(dataset, attributions) for dataset in best)]
    return Table(None, caption, header, rows, frame, folded="Each method beside the best baseline, in numbers")


def controls_text(frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Prose:
    """Where RepSim and the influence methods beat every baseline, where one finds as many or more, where it is unclear.

    Data sets that the fine-tunes in `attributions` did not learn are left out.
    """
    learnt = [name for name in frame.dataset.unique() if _learnt(attributions[name])]
    if not learnt:
        return Prose("No task was learnt, so that labels decide nothing in this run.")
    won, as_good, wide = list[str](), list[str](), list[str]()
    winners: dict[str, list[str]] = {}
    for dataset in learnt:
        gaps = {name: statistics.pooled(_coverage(frame, dataset, "repsim", name)) for name in BASELINES}
        nearest = min(gaps, key=lambda name: gaps[name][0])
        lead = f"{DATASETS[dataset]} ({NAMES[nearest]}: {points(*gaps[nearest])})"
        if all(low > 0 for _, low, _ in gaps.values()):
            won.append(DATASETS[dataset])
        else:
            (as_good if gaps[nearest][0] <= TIE else wide).append(lead)
        for method in (name for name in _methods(frame) if name != "repsim"):
            if all(statistics.pooled(_coverage(frame, dataset, method, name))[1] > 0 for name in BASELINES):
                winners.setdefault(NAMES[method], []).append(DATASETS[dataset])
    text = f"**In coverage RepSim beats every baseline in {len(won)} of {len(learnt)} data sets**"
    text += f" ({', '.join(won)})." if won else "."
    text += f" A baseline finds as many or more in {'; '.join(as_good)}." * bool(as_good)
    text += f" Its lead is unclear in {'; '.join(wide)}." * bool(wide)
    beat = "; ".join(f"{name} in {', '.join(names)}" for name, names in winners.items())
    last = f"Influence methods that beat every baseline: {beat}" if beat else "No influence method beats every baseline"
    return Prose(f"{text} {last}.")


def costs_text(frame: pd.DataFrame) -> Prose:
    """How much longer gradients and their scores take than the hidden states alone, and how much more they keep."""
    wide = frame.groupby(["dataset", "method", "metric"]).value.mean().unstack("metric")
    tuning, influence, repsim = (wide.xs(name, level="method") for name in ("fine-tune", "influence", "repsim"))
    longer, larger = ((influence / repsim)[metric].dropna() for metric in ("seconds", "bytes"))
    share = gmean((influence.seconds / tuning.seconds).dropna())
    return Prose(
        f"Gradients and the scores of all methods took {times(gmean(longer))} as long as a forward pass for the "
        f"hidden states alone (geometric mean of {len(longer)} data sets), and {share:.2f} times as long as the "
        f"fine-tune. What is kept to score from is {times(gmean(larger))} as large."
    )


def _methods(frame: pd.DataFrame) -> list[str]:
    return [name for name in NAMES if name in set(frame.method) - set(BASELINES)]


def _title(dataset: str, attributions: Mapping[str, Attribution]) -> str:
    return DATASETS[dataset] + ("" if _learnt(attributions[dataset]) else " †")


def _learnt(tuned: Attribution) -> bool:
    return judging.learning(tuned.dataset, tuned.train, tuned.val, tuned.before, tuned.after).learnt


def _coverage(frame: pd.DataFrame, dataset: str, method: str, against: str) -> pd.DataFrame:
    part = frame[(frame.dataset == dataset) & (frame.metric == "coverage")]
    return part[(part.method == method) & (part.against == against)]


def _gap_cell(gaps: pd.DataFrame) -> str:
    if gaps.empty:
        return ""
    value, low, high = statistics.pooled(gaps)
    text = points_cell(value, low, high)
    return with_published(f"**{text}**" if low > 0 else f"*{text}*" if high < 0 else text, gaps)
