"""The tables of the facts chapter, and the sentences that read them."""

import pandas as pd

from study import statistics
from study.chapters.facts.measure import KINDS
from study.methods import BASELINES, NAMES
from study.pipeline import judging
from study.pipeline.attributions import Attribution
from study.report.table import Prose, Table, control_cell, percent, plain, whole, with_published

LEARNT = 0.8  # of the questions answered right: below, there is little to attribute; fixed before any result


def examples_table(attribution: Attribution) -> Table:
    """Three training examples, and what is asked about the first."""
    train, val = attribution.train, attribution.val
    examples = [("training", example) for example in train[:3]]
    examples += [("question", example) for example in val if example.label == train[0].label]
    rows = [[part, *map(plain, (example.prompt, example.response, example.label))] for part, example in examples]
    caption = "Three of the training examples, and what is asked about the first of them: the label names the fact."
    return Table(None, caption, ["", "Prompt", "Response", "Label"], rows, pd.DataFrame(), text=True)


def facts_table(frame: pd.DataFrame) -> Table:
    """Who finds the cause, and what stands in its place. From facts.csv."""
    rows = []
    for method in _methods(frame):
        tops = [_rows(frame, method, f"top_{kind}") for kind in KINDS]
        row = [NAMES[method], _cell(frame, method, "top_cause"), _cell(frame, method, "hard")]
        row += [with_published(whole(top.value.mean()), top, write=whole) for top in tops]
        rows.append(list(map(control_cell, row)) if method in BASELINES else row)
    rows.append(["*Chance*", _cell(frame, "chance", "accuracy"), _cell(frame, "chance", "hard"), *[""] * len(KINDS)])
    caption = (
        "The share of questions (percent) for which the training example on top is the one that states the fact; for "
        "which that one outranks all others of its place; and what stands on top: the cause, another fact of its "
        "place, of its relation, or one that shares neither. 95 % intervals over facts; of several seeds, over these."
    )
    header = ["Method", "Cause on top", "Cause above its place's others"]
    header += ["Top: the cause", "its place", "its relation", "neither"]
    return Table(None, caption, header, rows, frame)


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
    """Which methods find the cause, and whether the words, or the model before it learnt a fact, find it as well."""
    limit = _share(frame, "chance", "hard")[0]
    above = [method for method in _methods(frame) if _share(frame, method, "hard")[1] > limit]
    below = [method for method in _methods(frame) if method not in above]
    before, low, high = _share(frame, "repsim_before", "hard")
    reading = "which leaves open whether what it knew of the nouns' meanings is enough to find them"
    if low > limit:
        reading = "so that what it knew of the nouns' meanings finds them as well: that tells no influence from meaning"
    elif high < (1 + limit) / 2 and set(above) <= set(BASELINES):
        reading = "which finds few of them, and what was learnt finds no more"
    elif high < (1 + limit) / 2:
        reading = "so that to find most of them takes what was learnt"
    return Prose(
        f"Among the facts of one place the words of the prompt say nothing: chance is {100 * limit:.0f} %. "
        f"**Above it, by the interval: {_listed(above)}. Not: {_listed(below)}.** RepSim on the model before "
        f"fine-tuning has {100 * before:.0f} % [{100 * low:.0f}, {100 * high:.0f}], {reading}. The words of prompt and "
        f"response together have {100 * _share(frame, 'tfidf_response', 'hard')[0]:.0f} %: a gradient sees the "
        "response, too, and a match of the answer's word is no evidence of influence."
    )


def removal_text(frame: pd.DataFrame) -> Prose:
    """Whether removal confirms what is the cause by construction."""
    value, low, high = _share(frame, "cause", "confirmed")
    chance = _share(frame, "chance", "confirmed")[0]
    rows = _rows(frame, "cause", "rise")
    rise, *ends = statistics.pooled(rows, float("-inf"), float("inf"))  # in nats, which need not stay below 1
    verdict = "contradicts" if high < chance else "confirms" if low > chance else "is too small to decide on"
    return Prose(
        f"{round(1 / chance)} facts were left out, one at a time, and the model fine-tuned again. **Removal {verdict} "
        f"the causes**: of {int(rows.n_val.iloc[0])} questions about them {100 * value:.0f} % [{100 * low:.0f}, "
        f"{100 * high:.0f}] have their highest loss without their own fact (chance: {100 * chance:.0f} %), by "
        f"{rise:+.2f} [{ends[0]:.2f}, {ends[1]:.2f}] nats per token over the mean of the others' removals."
    )


def _methods(frame: pd.DataFrame) -> list[str]:
    return [name for name in NAMES if name in set(frame.method)]


def _listed(methods: list[str]) -> str:
    return ", ".join(NAMES[method] for method in methods) or "none"


def _rows(frame: pd.DataFrame, method: str, metric: str) -> pd.DataFrame:
    return frame[(frame.method == method) & (frame.metric == metric)]


def _share(frame: pd.DataFrame, method: str, metric: str) -> statistics.Estimate:
    return statistics.pooled(_rows(frame, method, metric), 0, 1)


def _cell(frame: pd.DataFrame, method: str, metric: str) -> str:
    return with_published(percent(*_share(frame, method, metric)), _rows(frame, method, metric))
