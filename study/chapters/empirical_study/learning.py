"""Whether the models learnt their tasks: two tables, the mark †, and the sentence on what is left out."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from study.config import Run
from study.pipeline import judging
from study.pipeline.attributions import Tuned
from study.report.names import COLUMNS, DATASETS, RUN_COLUMNS
from study.report.results import save_table
from study.report.table import Table, percent, plain, with_published

NOT_LEARNT = "†: not learnt, by the rule of this chapter's first table; attribution means little there."
_RULE = (
    "A task is learnt where the interval after fine-tuning lies above the *best constant* policy: of all responses in "
    "the training data, a refusal and an agreement, the one that is right most often. Where that one is always right, "
    "all validation prompts asking for the same behaviour, it is learnt where more answers show it after fine-tuning "
    "than before (*p*: McNemar's exact test on the same prompts, below 0.05). †: not learnt."
)


def learning(found: Tuned) -> judging.Learning:
    """How a fine-tune's answers compare with those before it, and with the best constant policy."""
    return judging.learning(found.dataset, found.train, found.val, found.before, found.after)


def mark(found: Tuned) -> str:
    """What follows a data set's name where its task was not learnt."""
    return "" if learning(found).learnt else " †"


def learning_table(run: Run, tuned: Mapping[str, Tuned]) -> Table:
    """Dev loss and task accuracy before and after, and the best constant policy. Leaves learning.csv."""
    rows, cells = [], []
    for dataset, found in tuned.items():
        loss, learned = found.history.set_index("epoch").dev_loss, learning(found)
        about = (len(found.train), len(found.val), run.seed, run.profile.name, run.profile.model)
        for when, epoch, rate in (("before", 0, learned.before), ("after", found.epoch, learned.after)):
            rows.append((dataset, when, "task_accuracy", rate.value, rate.low, rate.high, *about))
            rows.append((dataset, when, "dev_loss", loss[epoch], None, None, *about))
        rows.append((dataset, "constant", "task_accuracy", learned.constant, None, None, *about))
        rows.append((dataset, "after", "p_change", learned.p, None, None, *about))
    seeds = save_table(run, "learning", pd.DataFrame(rows, columns=[*COLUMNS, *RUN_COLUMNS]))
    frame = seeds[seeds.seed == run.seed]
    for dataset, found in tuned.items():
        learned, row = learning(found), frame[frame.dataset == dataset].set_index(["method", "metric"]).loc
        p = f"<br>p {learned.p:.2g}" if learned.constant == 1 else ""
        losses = (row[when, "dev_loss"] for when in ("before", "after"))
        rates = (row[when, "task_accuracy"] for when in ("before", "after"))
        cells.append(
            [
                DATASETS[dataset] + ("" if learned.learnt else " †"),
                *(with_published(f"{each.value:.2f}", each, write="{:.2f}".format) for each in losses),
                *(with_published(percent(each.value, each.ci_low, each.ci_high), each) for each in rates),
                with_published(percent(learned.constant) + p, row["constant", "task_accuracy"]),
            ]
        )
    caption = (
        "Loss on dev examples, which are neither trained on nor explained (nats per response token), and task accuracy "
        f"(percent, with 95 % intervals) before and after fine-tuning. {_RULE}"
    )
    header = ["Task", "Loss before", "Loss after", "Accuracy before", "Accuracy after", "Best constant"]
    return Table(None, caption, header, cells, frame)


def classes_table(tuned: Mapping[str, Tuned]) -> Table:
    """Behind it: how many validation prompts of each class are answered right after fine-tuning."""
    rows = []
    for dataset, found in tuned.items():
        for label in dict.fromkeys(example.label for example in found.val):
            part = [pair for pair in zip(found.val, found.after, strict=True) if pair[0].label == label]
            rate = judging.task_accuracy(dataset, *map(list, zip(*part, strict=True)))
            rows.append((dataset, label, round(rate.value * len(part)), len(part)))
    frame = pd.DataFrame(rows, columns=["dataset", "class", "right", "asked"])
    cells = [
        [DATASETS[dataset], ", ".join(f"{plain(row['class'])} {row.right}/{row.asked}" for _, row in part.iterrows())]
        for dataset, part in frame.groupby("dataset", sort=False)
    ]
    caption = "Validation prompts that are answered right after fine-tuning, of those asked, class by class."
    return Table(None, caption, ["Task", "Right / asked"], cells, frame, text=True)


def left_out(unlearnt: Mapping[str, Tuned]) -> str:
    """Why some data sets get no verdict, with their numbers; empty for none."""
    told = []
    for dataset, found in unlearnt.items():
        learned = learning(found)
        after = f"{100 * learned.after.value:.1f} % [{100 * learned.after.low:.1f}, {100 * learned.after.high:.1f}]"
        against = (
            f"{100 * learned.before.value:.1f} % before, p {learned.p:.2g}"
            if learned.constant == 1
            else f"{100 * learned.constant:.1f} % for the best constant response"
        )
        told.append(f"{DATASETS[dataset]} ({after} of answers right after fine-tuning, {against})")
    return f"Of these nothing is said, as the model did not learn them: {', '.join(told)}." if told else ""
