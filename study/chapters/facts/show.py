"""The tables of the facts chapter, and the sentences that read them."""

from __future__ import annotations

import pandas as pd

from study import statistics
from study.chapters.facts.measure import KINDS
from study.pipeline import judging
from study.pipeline.attributions import Attribution
from study.pipeline.baselines import BASELINES
from study.report.names import NAMES
from study.report.table import Prose, Table, control, percent, plain, whole, with_published

LEARNT = 0.8  # of the questions answered right: below, there is little to attribute; fixed before any result


def examples_table(found: Attribution) -> Table:
    """Three training examples, and what is asked about the first."""
    asked = [each for each in found.val if each.label == found.train[0].label]
    shown = [("training", each) for each in found.train[:3]] + [("question", each) for each in asked]
    rows = [[part, plain(each.prompt), plain(each.response), plain(each.label)] for part, each in shown]
    caption = "Three of the training examples, and what is asked about the first of them: the label names the fact."
    return Table(None, caption, ["", "Prompt", "Response", "Label"], rows, pd.DataFrame(), text=True)


def facts_table(frame: pd.DataFrame) -> Table:
    """Who finds the cause, and what stands in its place. From facts.csv."""
    rows = []
    for method in (name for name in NAMES if name in set(frame.method)):
        cells = [_cell(frame, method, "top_cause"), _cell(frame, method, "hard")]
        cells += [_share(frame, method, f"top_{kind}") for kind in KINDS]
        row = [NAMES[method], *cells]
        rows.append(list(map(control, row)) if method in BASELINES else row)
    rows.append(["*Chance*", _cell(frame, "chance", "accuracy"), _cell(frame, "chance", "hard"), *[""] * len(KINDS)])
    caption = (
        "The share of questions (percent) for which the training example on top is the one that states the fact; for "
        "which that one outranks all others of its place; and what stands on top: the cause, another fact of its "
        "place, of its relation, or one that shares neither. 95 % intervals over facts; of several seeds, over these."
    )
    header = ["Method", "Cause on top", "Cause above its place's others"]
    header += ["Top: the cause", "its place", "its relation", "neither"]
    return Table(None, caption, header, rows, frame)


def learnt_text(found: Attribution) -> Prose:
    """Whether the facts were learnt, and whether they were known before."""
    before, after = (
        judging.task_accuracy(found.dataset, found.val, answers) for answers in (found.before, found.after)
    )
    told = (
        f"{100 * after.value:.0f} % [{100 * after.low:.0f}, {100 * after.high:.0f}] of {len(found.val)} questions, "
        "each with a noun that no training example has, are answered correctly after fine-tuning, "
        f"{100 * before.value:.0f} % before"
    )
    if after.value >= LEARNT:
        return Prose(f"**The facts are learnt**: {told}.")
    asked = f"{100 * LEARNT:.0f} % are asked for"
    return Prose(
        f"**The facts are not learnt well enough to attribute** ({asked}): {told}. What follows decides nothing."
    )


def facts_text(frame: pd.DataFrame) -> Prose:
    """Which methods find the cause, and whether the words, or the model before it learnt a fact, find it as well."""
    limit = _pooled(frame, "chance", "hard")[0]
    above, below = [], []
    for method in (name for name in NAMES if name in set(frame.method)):
        (above if _pooled(frame, method, "hard")[1] > limit else below).append(NAMES[method])
    before, low, high = _pooled(frame, "repsim_before", "hard")
    known = "which leaves open whether what it knew of the nouns' meanings is enough to find them"
    if low > limit:
        known = "so that what it knew of the nouns' meanings finds them as well: that tells no influence from meaning"
    elif high < (1 + limit) / 2:
        known = "so that to find most of them takes what was learnt"
        if {NAMES[method] for method in BASELINES}.issuperset(above):
            known = "which finds few of them, and what was learnt finds no more"
    return Prose(
        f"Among the facts of one place the words of the prompt say nothing: chance is {100 * limit:.0f} %. "
        f"**Above it, by the interval: {', '.join(above) or 'none'}. Not: {', '.join(below) or 'none'}.** RepSim on "
        f"the model before fine-tuning has {100 * before:.0f} % [{100 * low:.0f}, {100 * high:.0f}], {known}. The "
        f"words of prompt and response together have {100 * _pooled(frame, 'tfidf_response', 'hard')[0]:.0f} %: a "
        "gradient sees the response, too, and a match of the answer's word is no evidence of influence."
    )


def removal_text(frame: pd.DataFrame) -> Prose:
    """Whether removal confirms what is the cause by construction."""
    value, low, high = _pooled(frame, "cause", "confirmed")
    chance = _pooled(frame, "chance", "confirmed")[0]
    rows = frame[(frame.method == "cause") & (frame.metric == "rise")]
    rise, *ends = rows.value.mean(), rows.ci_low.iloc[0], rows.ci_high.iloc[0]
    if len(rows) > 1:  # in nats, which need not stay below 1
        ends = statistics.interval_of_mean(rows.value)
    verdict = "contradicts" if high < chance else "confirms" if low > chance else "is too small to decide on"
    return Prose(
        f"{round(1 / chance)} facts were left out, one at a time, and the model fine-tuned again. **Removal {verdict} "
        f"the causes**: of {int(rows.n_val.iloc[0])} questions about them {100 * value:.0f} % [{100 * low:.0f}, "
        f"{100 * high:.0f}] have their highest loss without their own fact (chance: {100 * chance:.0f} %), by "
        f"{rise:+.2f} "
        f"[{ends[0]:.2f}, {ends[1]:.2f}] nats per token over the mean of the others' removals."
    )


def _rows(frame: pd.DataFrame, method: str, metric: str) -> pd.DataFrame:
    return frame[(frame.method == method) & (frame.metric == metric)]


def _pooled(frame: pd.DataFrame, method: str, metric: str) -> tuple[float, float, float]:
    value, low, high = statistics.pooled(_rows(frame, method, metric))
    return value, max(low, 0.0), high  # a share


def _cell(frame: pd.DataFrame, method: str, metric: str) -> str:
    return with_published(percent(*_pooled(frame, method, metric)), _rows(frame, method, metric))


def _share(frame: pd.DataFrame, method: str, metric: str) -> str:
    """A whole number of percent, without an interval."""
    return with_published(whole(_pooled(frame, method, metric)[0]), _rows(frame, method, metric), write=whole)
