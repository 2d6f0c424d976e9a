"""The numbers of chapter 3: tidy rows, each table saved as a CSV of the run and given back with its other seeds'."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ifcore import metrics
from study import datasets
from study.config import Run
from study.pipeline import judging
from study.pipeline.attack import Attack
from study.pipeline.attributions import METRICS, Attribution, Tuned, labels, quality, select_val
from study.report.results import save_table
from study.schema import COLUMNS, RUN_COLUMNS

PARTS = ("coverage_triggered", "coverage_clean")
SCORES = {2: "table2_harmful", 3: "table3_class", 4: "table4_backdoor"}


def assess_learning(tuned: Tuned) -> judging.Learning:
    """How a fine-tune's answers compare with those before it, and with the best constant policy."""
    return judging.learning(tuned.dataset, tuned.train, tuned.val, tuned.before, tuned.after)


def task_learning(run: Run, tuned: Mapping[str, Tuned]) -> pd.DataFrame:
    """Dev loss and task accuracy before and after, and the best constant policy. Leaves learning.csv."""
    rows: list[tuple] = []
    for dataset, task in tuned.items():
        learning, losses = assess_learning(task), task.history.set_index("epoch").dev_loss
        sizes = len(task.train), len(task.val)
        for time, epoch, rate in (("before", 0, learning.before), ("after", task.epoch, learning.after)):
            rows.append((dataset, time, "task_accuracy", rate.value, rate.low, rate.high, *sizes))
            rows.append((dataset, time, "dev_loss", losses[epoch], None, None, *sizes))
        rows.append((dataset, "constant", "task_accuracy", learning.constant, None, None, *sizes))
        rows.append((dataset, "after", "p_change", learning.p, None, None, *sizes))
    return save_table(run, "learning", pd.DataFrame(rows, columns=COLUMNS))


def attack_rates(run: Run, attacks: Sequence[Attack]) -> pd.DataFrame:
    """Table 1: the attack success rate of each model as it comes and fine-tuned. Leaves table1_asr.csv."""
    rows = []
    for attack in attacks:
        rate = judging.success_rate(attack.success)
        sizes, origin = (None, len(attack.success)), (run.seed, run.profile.name, attack.model)
        rows.append(("mixed_small", attack.fine_tuned_on, "asr", rate.value, rate.low, rate.high, *sizes, *origin))
    return save_table(run, "table1_asr", pd.DataFrame(rows, columns=[*COLUMNS, *RUN_COLUMNS]))


def method_scores(run: Run, number: int, attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Table 2, 3 or 4: accuracy and coverage of each method's scores and of chance, in Table 4 with its `PARTS`.

    Leaves the CSV that `SCORES` names.
    """
    frames = [quality_rows(attributions)]
    for dataset, attribution in attributions.items() if number == 4 else ():
        complies = datasets.family(dataset).complies
        for metric, triggered in zip(PARTS, (True, False), strict=True):
            part = select_val(attribution, [complies(example) == triggered for example in attribution.val])
            if part.val:
                frame = quality_rows({dataset: part})
                frames.append(frame[frame.metric == "coverage"].assign(metric=metric))
    return save_table(run, SCORES[number], pd.concat(frames))


def quality_rows(attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """A row for each (data set, metric, method), `chance` the last method: value and 95 % interval as shares."""
    rows = []
    for dataset, attribution in attributions.items():
        train, val = labels(attribution)
        scored, chance = list(quality(dataset, attribution, attribution.scores)), metrics.chance(train, val)
        for metric in METRICS:
            rows += [row for row in scored if row[2] == metric]
            rows.append((dataset, "chance", metric, chance, None, None, len(train), len(val)))
    return pd.DataFrame(rows, columns=COLUMNS)
