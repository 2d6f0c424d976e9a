"""The tables of the facts chapter, and the sentences that read them."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from study import statistics
from study.chapters.facts.measure import KINDS
from study.config import Run
from study.methods import BASELINES, COLOURS, NAMES
from study.pipeline import judging
from study.pipeline.attributions import Attribution
from study.report.plot import draw_interval, save, with_style
from study.report.table import Prose, Table, control_cell, percent, plain, whole, with_published
from study.schema import ITSELF

LEARNT = 0.8  # of the questions answered right: below, there is little to attribute; fixed before any result


def examples_table(attribution: Attribution) -> Table:
    """Three training examples, and what is asked about the first."""
    train, val = attribution.train, attribution.val
    examples = [("training", example) for example in train[:3]]
    examples += [("question", example) for example in val if example.label == train[0].label]
    rows = [[part, *map(plain, (example.prompt, example.response, example.label))] for part, example in examples]
    caption = "Three of the training examples, and what is asked about the first of them: the label names the fact."
    return Table(None, caption, ["", "Prompt", "Response", "Label"], rows, pd.DataFrame(), text=True)


@with_style
def facts_figure(run: Run, frame: pd.DataFrame) -> Figure:
    """Of the other facts of its place, how many each method and baseline ranks below the cause. Leaves fig_facts.*."""
    names = _methods(frame)[::-1]
    figure, axis = plt.subplots(figsize=(7.2, 0.8 + 0.19 * len(names)))
    for place, name in enumerate(names):
        value, low, high = (100 * end for end in _share(frame, name, "hard_auc"))
        draw_interval(axis, place, (value, low, high), color=COLOURS[name])
    axis.axvline(100 * _share(frame, "chance", "hard_auc")[0], color="black", linewidth=0.8, linestyle=":")
    axis.axhline(sum(name in BASELINES for name in names) - 0.5, color="#CCCCCC", linewidth=0.6)
    axis.set_yticks(range(len(names)), [NAMES[name] for name in names])
    axis.set_xlabel("other facts of its place that rank below the cause (%); dotted: a guess")
    return save(run, "fig_facts", figure, ("facts",))


def facts_table(frame: pd.DataFrame) -> Table:
    """Who finds the cause, and what stands in its place. From facts.csv."""
    rows, others = [], [kind for kind in KINDS if kind != "cause"]
    for method in _methods(frame):
        tops = [_rows(frame, method, f"top_{kind}") for kind in others]
        row = [NAMES[method], *(_cell(frame, method, metric) for metric in ("top_cause", "hard", "hard_auc"))]
        row += [with_published(whole(top.value.mean()), top, write=whole) for top in tops]
        rows.append(list(map(control_cell, row)) if method in BASELINES else row)
    chances = [_cell(frame, "chance", metric) for metric in ("accuracy", "hard", "hard_auc")]
    rows.append(["*Chance*", *chances, *[""] * len(others)])
    caption = (
        "The share of questions (percent) for which the training example on top is the one that states the fact; for "
        "which that one outranks all others of its place; the share of these others that it outranks, ties counting "
        "half; and what stands on top where the cause does not: another fact of its place, of its relation, or one "
        "that shares neither. 95 % intervals over facts; with several seeds, over seeds."
    )
    header = ["Method", "Cause on top", "Cause above all of its place", "Of its place, below the cause"]
    header += ["Top: of its place", "of its relation", "neither"]
    return Table(None, caption, header, rows, frame, folded="Who finds the cause, in numbers")


def learnt_text(attribution: Attribution) -> Prose:
    """Whether the facts were learnt, and whether they were known before."""
    dataset, val = attribution.dataset, attribution.val
    before, after = (judging.task_accuracy(dataset, val, texts) for texts in (attribution.before, attribution.after))
    accuracies = (
        f"{100 * after.value:.0f} % [{100 * after.low:.0f}, {100 * after.high:.0f}] of {len(val)} questions, "
        "each with a noun that no training example has, are answered correctly after fine-tuning, "
        f"{100 * before.value:.0f} % before"
    )
    if after.value >= LEARNT:
        return Prose(f"**The facts are learnt**: {accuracies}.")
    return Prose(
        f"**The facts are not learnt well enough to attribute** ({100 * LEARNT:.0f} % are asked for): {accuracies}. "
        "What follows decides nothing."
    )


def facts_text(frame: pd.DataFrame) -> Prose:
    """Which methods rank the cause above the other facts of its place, and which do so better than every baseline."""
    limit = _share(frame, "chance", "hard_auc")[0]
    above = [method for method in _methods(frame) if _share(frame, method, "hard_auc")[1] > limit]
    ahead = [method for method in _methods(frame) if method not in BASELINES and _leads(frame, method)]
    shares = {name: _share(frame, name, "hard_auc") for name in BASELINES if name in set(frame.method)}
    best = max(shares, key=lambda name: shares[name][0])
    value, low, high = shares[best]
    return Prose(
        f"Of the other facts of its place a guess ranks {100 * limit:.0f} % below the cause. "
        f"**Clearly above that: {_listed(above)}.** The best of the baselines, "
        f"{NAMES[best]}, has {100 * value:.0f} % [{100 * low:.0f}, {100 * high:.0f}]. **Ahead of every baseline, "
        f"paired by question: {_listed(ahead)}.**"
    )


def removal_text(frame: pd.DataFrame) -> Prose:
    """Whether removal confirms what is the cause by construction."""
    value, low, high = _share(frame, "cause", "confirmed")
    chance = _share(frame, "chance", "confirmed")[0]
    rows = _rows(frame, "cause", "rise")
    rise, *ends = statistics.pooled(rows, float("-inf"), float("inf"))  # in nats, which need not stay below 1
    verdict = "contradicts" if high < chance else "confirms" if low > chance else "is of too few facts to confirm"
    return Prose(
        f"{round(1 / chance)} facts were left out, one at a time, and the model fine-tuned again. **Removal {verdict} "
        f"the causes**: of {int(rows.n_val.iloc[0])} questions about them {100 * value:.0f} % [{100 * low:.0f}, "
        f"{100 * high:.0f}] have their highest loss without their own fact (chance: {100 * chance:.0f} %), by "
        f"{rise:+.2f} [{ends[0]:.2f}, {ends[1]:.2f}] nats per token over the mean of the others' removals."
    )


def _methods(frame: pd.DataFrame) -> list[str]:
    return [name for name in NAMES if name in set(frame.method)]


def _leads(frame: pd.DataFrame, method: str) -> bool:
    """Whether the method is ahead of each baseline in `hard_auc`, by the intervals of the paired differences."""
    baselines = [name for name in BASELINES if name in set(frame.method)]
    gaps = [statistics.pooled(_rows(frame, method, "hard_auc", name), -1, 1) for name in baselines]
    return all(low > 0 for _, low, _ in gaps)


def _listed(methods: list[str]) -> str:
    return ", ".join(NAMES[method] for method in methods) or "none"


def _rows(frame: pd.DataFrame, method: str, metric: str, against: str = ITSELF) -> pd.DataFrame:
    return frame[(frame.method == method) & (frame.metric == metric) & (frame.against == against)]


def _share(frame: pd.DataFrame, method: str, metric: str) -> statistics.Estimate:
    return statistics.pooled(_rows(frame, method, metric), 0, 1)


def _cell(frame: pd.DataFrame, method: str, metric: str) -> str:
    return with_published(percent(*_share(frame, method, metric)), _rows(frame, method, metric))
