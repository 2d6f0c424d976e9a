"""Tables 1 to 4, with the paper's numbers beside ours, and the sentences that read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ifcore import metrics
from ifcore.study.config import Run
from ifcore.study.paper import paper
from ifcore.study.runs import judging
from ifcore.study.runs.artifact import Attribution, Tuned, quality
from ifcore.study.runs.attack import Attack
from ifcore.study.show.names import COLUMNS, DATASETS, NAMES, RUN_COLUMNS
from ifcore.study.show.publish import publish
from ifcore.study.show.table import Prose, Table, plain

_SHORT = {"accuracy": "Acc.", "coverage": "Cover."}
_TUNED_ON = {"nothing": "original", "benign": "on benign", "harmful": "on harmful", "mixed": "on mixed"}


def attack_table(run: Run, attacks: Sequence[Attack]) -> Table:
    """Table 1: attack success rate of each model as it comes and fine-tuned. Leaves table1_asr.csv."""
    rows = []
    for attack in attacks:
        rate = judging.attack_success(attack.success)
        about = (None, len(attack.success), run.seed, run.profile.name, attack.model)
        rows.append(("mixed_small", attack.fine_tuned_on, "asr", rate.value, rate.low, rate.high, *about))
    seeds = publish(run, "table1_asr", pd.DataFrame(rows, columns=[*COLUMNS, *RUN_COLUMNS]))
    table = [
        [f"`{model}`", *(_cell(part[part.method == tuned_on]) for tuned_on in _TUNED_ON)]
        for model, part in seeds.groupby("model", sort=False)
    ]
    change = {name.split("-")[1]: each["asr"] for name, each in paper()["table6"].items() if "original-" in name}
    table.append(
        ["*The paper: change of Llama-2-7B-chat*", "", *(f"{change[k]:.2f}" for k in ("benign", "harmful", "mixed"))]
    )
    caption = (
        f"Attack success rate in percent, over {len(attacks[0].prompts)} harmful prompts that no model was trained on, "
        f"judged by {'refusal phrases' if run.profile.judge == 'refusal' else run.profile.judge}, with "
        + _spread(seeds)
        + " The body of the paper's table is lost; the last row is the size of the change in percentage points, from "
        "its Table 6."
    )
    return Table("tab-asr", caption, ["Model", *_TUNED_ON.values()], table, seeds)


def harmful_table(run: Run, attributions: Mapping[str, Attribution]) -> Table:
    """Table 2: accuracy and coverage of finding the harmful training examples. Leaves table2_harmful.csv."""
    return _scores_table(
        run,
        attributions,
        "table2_harmful",
        "tab-harmful",
        "Finding the harmful examples in the fine-tuning data",
        "The body of the paper's table is lost; the last column is its text.",
        ("The paper (%)", paper()["table2_prose"]),
    )


def class_table(run: Run, attributions: Mapping[str, Attribution]) -> Table:
    """Table 3: accuracy and coverage of finding training examples of the same class. Leaves table3_class.csv."""
    return _scores_table(
        run,
        attributions,
        "table3_class",
        "tab-class",
        "Finding the training examples of the validation example's class",
        "The body of the paper's table is lost; the last column is its text.",
        ("The paper (%)", paper()["table3_prose"]),
    )


def backdoor_table(run: Run, attributions: Mapping[str, Attribution]) -> Table:
    """Table 4: accuracy and coverage of finding training examples with the same trigger. Leaves table4_backdoor.csv.

    Under each of our cells stands the paper's.
    """
    return _scores_table(
        run,
        attributions,
        "table4_backdoor",
        "tab-backdoor",
        "Finding the training examples with the validation example's trigger",
        "The rows in italics are the paper's, on Llama-2-7B-chat.",
        printed=paper()["table4"],
    )


def by_class_table(attributions: Mapping[str, Attribution]) -> Table:
    """Behind Table 3: each method's accuracy and coverage for each class by itself."""
    rows = []
    for dataset, found in attributions.items():
        for label in dict.fromkeys(example.label for example in found.val):
            part = [i for i, example in enumerate(found.val) if example.label == label]
            chosen = replace(found, val=[found.val[i] for i in part])
            scores = {method: each[part] for method, each in found.scores.items()}
            rows += [(dataset, label, *row[1:4]) for row in quality(dataset, chosen, scores)]
            chance = metrics.chance([example.label for example in found.train], [label])
            rows += [(dataset, label, "chance", metric, chance) for metric in ("accuracy", "coverage")]
    frame = pd.DataFrame(rows, columns=["dataset", "class", "method", "metric", "value"])
    frame["value"] *= 100
    wide = frame.pivot_table(index=["dataset", "class"], columns=["metric", "method"], values="value", sort=False)
    methods = list(frame.method.unique())
    cells = []
    for (dataset, label), row in wide.iterrows():
        found = (f"{row['accuracy', method]:.0f} / {row['coverage', method]:.0f}" for method in methods)
        cells.append([f"{DATASETS[dataset]}: {plain(label)}", *found])
    caption = "Accuracy / coverage in percent, class by class."
    return Table(None, caption, ["Class", *(NAMES.get(m, "Chance") for m in methods)], cells, frame)


def learning_table(run: Run, tuned: Mapping[str, Tuned]) -> Table:
    """Whether the model learnt: dev loss and task accuracy before and after. Leaves learning.csv."""
    rows = []
    for dataset, found in tuned.items():
        loss = found.history.set_index("epoch").dev_loss
        for when, epoch, answers in (("before", 0, found.before), ("after", found.epoch, found.after)):
            rate = judging.task_accuracy(dataset, found.val, answers)
            about = (len(found.train), len(found.val), run.seed, run.profile.name, run.profile.model)
            rows.append((dataset, when, "task_accuracy", rate.value, rate.low, rate.high, *about))
            rows.append((dataset, when, "dev_loss", loss[epoch], None, None, *about))
    frame = pd.DataFrame(rows, columns=[*COLUMNS, *RUN_COLUMNS])
    publish(run, "learning", frame)
    value = frame.set_index(["dataset", "method", "metric"])
    cells = [
        [
            DATASETS[dataset] + _mark(found),
            *(f"{value.value[dataset, when, 'dev_loss']:.2f}" for when in ("before", "after")),
            *(_cell(value.loc[[(dataset, when, "task_accuracy")]]) for when in ("before", "after")),
        ]
        for dataset, found in tuned.items()
    ]
    caption = (
        "Loss on dev examples, which are neither trained on nor explained (nats per response token), and task accuracy "
        f"(percent, with 95 % intervals) before and after fine-tuning. {_NOT_LEARNT}"
    )
    header = ["Task", "Loss before", "Loss after", "Task accuracy before", "Task accuracy after"]
    return Table(None, caption, header, cells, frame)


def scores_text(table: Table) -> Prose:
    """Says, for each data set and metric, whether RepSim leads as in the paper, with the numbers."""
    means = table.frame.groupby(["dataset", "metric", "method"], sort=False).value.mean() * 100
    sentences = []
    for dataset, metric in means.index.droplevel("method").unique():
        column = means[dataset, metric].drop("chance")
        if "repsim" not in column or len(column) < 2:
            continue
        others = column.drop("repsim")
        lead = round(column["repsim"] - others.max(), 1)  # equal shares may differ in the last bit: a tie, not a lead
        verb = "leads" if lead > 0 else ("ties with" if lead == 0 else "trails")
        by = f", by {abs(lead):.1f} points" if lead else ""
        sentences.append(
            f"- {DATASETS[dataset]}, {metric}: RepSim, {column['repsim']:.1f} %, {verb} the best influence method, "
            f"{NAMES[others.idxmax()]} with {others.max():.1f} %{by}. "
            + ("That is the paper's order." if lead > 0 else "In the paper it leads.")
        )
    return Prose("\n".join(sentences))


def tidy(run: Run, attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """One row per (data set, method, metric): value and 95 % interval as shares, and what they are of."""
    rows = []
    for dataset, found in attributions.items():
        cells = list(quality(dataset, found, found.scores))
        chance = metrics.chance(*([example.label for example in part] for part in (found.train, found.val)))
        for metric in ("accuracy", "coverage"):
            rows += [row for row in cells if row[2] == metric]
            rows.append((dataset, "chance", metric, chance, None, None, len(found.train), len(found.val)))
    about = {"seed": run.seed, "profile": run.profile.name, "model": run.profile.model}
    return pd.DataFrame(rows, columns=COLUMNS).assign(**about)


_NOT_LEARNT = (
    "†: after fine-tuning the model answers fewer than half of the validation prompts as the task asks, or no more "
    "than before; it has not learnt the task, and attribution means little there."
)


def _mark(found: Tuned) -> str:
    return "" if judging.learnt(found.dataset, found.val, found.before, found.after) else " †"


def _scores_table(run, attributions, name, label, what, about_paper, words=None, printed=None) -> Table:
    """Rows are methods, columns accuracy and coverage of each data set.

    `words`: header and method -> text of a last column; `printed`: dataset -> method -> metric -> the paper's number,
    each method's in a row of its own.
    """
    seeds = publish(run, name, tidy(run, attributions))
    columns = [(dataset, metric) for dataset in attributions for metric in ("accuracy", "coverage")]
    marks = {dataset: _mark(found) for dataset, found in attributions.items()}
    header = ["Method", *(f"{DATASETS[d]}{marks[d]}, {_SHORT[m]} (%)" for d, m in columns)]
    cells = {column: _column(seeds, *column) for column in columns}
    rows = []
    for method in run.profile.methods:
        rows.append([NAMES[method], *(cells[column][method] for column in columns)])
        if printed and method in printed[columns[0][0]]:
            rows.append([f"*{NAMES[method]}, the paper*", *(f"*{printed[d][method][m]:.1f}*" for d, m in columns)])
    rows.append(["*Chance*", *(cells[column]["chance"] for column in columns)])
    if words:
        header.append(words[0])
        for row, method in zip(rows, [*run.profile.methods, "chance"], strict=True):
            row.append("" if method == "chance" else words[1].get(method, "not in it"))
    caption = f"{what}: accuracy and coverage, with {_spread(seeds)} Best bold, second best underlined. {about_paper}"
    if any(marks.values()):
        caption += " " + _NOT_LEARNT
    return Table(label, caption, header, rows, seeds)


def _column(frame: pd.DataFrame, dataset: str, metric: str) -> dict[str, str]:
    """method -> cell, the best two marked."""
    part = frame[(frame.dataset == dataset) & (frame.metric == metric)]
    cells = {method: _cell(rows) for method, rows in part.groupby("method", sort=False)}
    means = {method: round(rows.value.mean() * 100, 1) for method, rows in part.groupby("method", sort=False)}
    ranked = sorted({mean for method, mean in means.items() if method != "chance"}, reverse=True)
    for method in means.keys() - {"chance"}:
        if means[method] == ranked[0]:
            cells[method] = f"**{cells[method]}**"
        elif means[method] == ranked[1]:
            cells[method] = f"<u>{cells[method]}</u>"
    return cells


def _cell(rows: pd.DataFrame) -> str:
    """Percent with its interval, or mean ± s.d. over seeds."""
    values = rows.value * 100
    if len(rows) > 1:
        return f"{values.mean():.1f} ± {values.std():.1f}"
    low, high = rows.ci_low.item() * 100, rows.ci_high.item() * 100
    return f"{values.item():.1f}" + ("" if pd.isna(low) else f"<br>[{low:.1f}, {high:.1f}]")


def _spread(frame: pd.DataFrame) -> str:
    seeds = frame.seed.nunique()
    return f"mean ± s.d. over {seeds} seeds." if seeds > 1 else "95 % intervals over validation examples."
