"""What the models learnt, and Tables 1 to 4 with the paper's numbers beside ours."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product

import pandas as pd

from study.chapters.empirical_study.measure import PARTS, assess_learning
from study.config import Run
from study.methods import BASELINES, NAMES
from study.paper import paper
from study.pipeline.attributions import Attribution, Tuned
from study.report.names import DATASETS, model_name
from study.report.table import Prose, Table, control_cell, percent, with_published

_SHORT = {"accuracy": "Acc.", "coverage": "Cover."}
_UNRANKED = {"chance", *BASELINES}
LABELS = {2: "tab-harmful", 3: "tab-class", 4: "tab-backdoor"}
_TARGETS = {
    2: "harmful examples in the fine-tuning data",
    3: "training examples of the validation example's class",
    4: "training examples with the validation example's trigger",
}
_PRINTED = "Under ours, in italics, stand the paper's, on Llama-2-7B-chat."
_LOST = "The body of the paper's table is lost; the last column is its text."
_GREY = "Grey: baselines, which never see the fine-tuned model. "
_TUNED_ON = {"nothing": "original", "benign": "on benign", "harmful": "on harmful", "mixed": "on mixed"}

_NOT_LEARNT = "†: not learnt, by the rule of this chapter's first table; attribution means little there."
_RULE = (
    "A task is learnt where more answers are right after fine-tuning than before (*p*: McNemar's exact test on the "
    "same prompts, below 0.05), and the interval lies above the *best constant* policy: of all responses in the "
    "training data, a refusal and an agreement, the one that is right most often. Where that one is always right, all "
    "validation prompts asking for the same behaviour, the rise decides. †: not learnt."
)


def learning_table(run: Run, frame: pd.DataFrame, tuned: Mapping[str, Tuned]) -> Table:
    """Dev loss and task accuracy before and after, and the best constant policy, from `measure.task_learning`."""
    frame = frame[frame.seed == run.seed]
    rows = []
    for dataset, task in tuned.items():
        learning, row = assess_learning(task), frame[frame.dataset == dataset].set_index(["method", "metric"]).loc
        p = f"<br>p {learning.p:.2g}"
        losses = (row[time, "dev_loss"] for time in ("before", "after"))
        rates = (row[time, "task_accuracy"] for time in ("before", "after"))
        cells = [with_published(f"{loss.value:.2f}", loss, write="{:.2f}".format) for loss in losses]
        cells += [with_published(percent(rate.value, rate.ci_low, rate.ci_high), rate) for rate in rates]
        cells.append(with_published(percent(learning.constant) + p, row["constant", "task_accuracy"]))
        rows.append([DATASETS[dataset] + _mark(task), *cells])
    caption = (
        "Loss on dev examples, which are neither trained on nor explained (nats per response token), and task accuracy "
        f"(percent, with 95 % intervals) before and after fine-tuning. {_RULE}"
    )
    header = ["Task", "Loss before", "Loss after", "Accuracy before", "Accuracy after", "Best constant"]
    return Table(None, caption, header, rows, frame, folded="What each data set was learnt to, before and after")


def learning_text(tuned: Mapping[str, Tuned]) -> Prose:
    """Which data sets were learnt, and which were not."""
    learnt = [DATASETS[name] for name, task in tuned.items() if assess_learning(task).learnt]
    others = [DATASETS[name] for name, task in tuned.items() if not assess_learning(task).learnt]
    text = f"Learnt: {', '.join(learnt) or 'none'}."
    return Prose(
        text + (f" **Not learnt: {', '.join(others)}**; attribution means little there (†)." if others else "")
    )


def attack_table(run: Run, rates: pd.DataFrame) -> Table:
    """Table 1: attack success rate of each model as it comes and fine-tuned."""
    rows = []
    for model, part in rates.groupby("model", sort=False):
        columns = [part[part.method == tuned_on] for tuned_on in _TUNED_ON]
        rows.append([model_name(model), *(with_published(_cell(column), column) for column in columns)])
    changes = {pair.split("-")[1]: row["asr"] for pair, row in paper()["table6"].items() if "original-" in pair}
    printed = [f"{changes[name]:.2f}" for name in ("benign", "harmful", "mixed")]
    rows.append(["*The paper: change of Llama-2-7B-chat*", "", *printed])
    caption = (
        f"Attack success rate in percent, over {rates.n_val.iloc[0]} harmful prompts that no model was trained on, "
        f"judged by {'refusal phrases' if run.profile.judge == 'refusal' else run.profile.judge}, with "
        f"{_spread(rates)} The body of the paper's table is lost; the last row is the size of the change in percentage "
        "points, from its Table 6."
    )
    return Table("tab-asr", caption, ["Model", *_TUNED_ON.values()], rows, rates)


def scores_table(number: int, frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Table:
    """Table 2, 3 or 4: accuracy and coverage of each method on each data set, beside the paper's numbers and words."""
    columns, words = list(product(attributions, _SHORT)), paper().get(f"table{number}_prose")
    methods, rows = [method for method in (*NAMES, "chance") if method in set(frame.method)], []
    for method, row in _method_rows(frame, columns, methods).items():
        if words and method not in _UNRANKED:
            row.append(words.get(method, "not in it"))
        rows += [row, *_paper_row(number, method, columns)]
    counts = {dataset: (len(task.train), len(task.val)) for dataset, task in attributions.items()}
    printed = {dataset: tuple(sizes.values()) for dataset, sizes in paper()["counts"].items()}
    for title, sizes in (("training / validation", counts), ("the paper", printed)):
        pairs = (("*{:,} / {:,}*".format(*sizes[d]) if d in sizes else "", "") for d in attributions)
        rows.append([f"*Examples, {title}*", *chain.from_iterable(pairs)])
    marks = {dataset: _mark(attribution) for dataset, attribution in attributions.items()}
    header = ["Method", *(f"{DATASETS[d]}{marks[d]}, {_SHORT[metric]} (%)" for d, metric in columns)]
    header += ["The paper's text"] if words else []
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    caption = (
        f"Finding the {_TARGETS[number]}: accuracy and coverage, with {_spread(frame)} Best bold, second best "
        f"underlined. {_GREY if set(BASELINES) & set(frame.method) else ''}{_PRINTED if number == 4 else _LOST}"
        f"{' ' + _NOT_LEARNT if any(marks.values()) else ''}"
    )
    return Table(LABELS[number], caption, header, rows, frame, folded=f"Table {number}: the numbers, and the paper's")


def released_table(number: int) -> Table:
    """Accuracy and coverage recomputed from the score matrices released with the paper's code."""
    released = paper()["released"][f"table{number}"]
    methods = list(dict.fromkeys(m for entry in released.values() for by in entry["scores"].values() for m in by))
    rows = []
    for dataset, entry in released.items():
        for model, by in entry["scores"].items():
            cells = ("{accuracy:.1f} / {coverage:.1f}".format(**by[m]) if m in by else "" for m in methods)
            rows.append([f"{DATASETS.get(dataset, dataset)}, {model}", *cells, f"{entry['chance']:.1f}"])
    caption = (
        "Accuracy / coverage in percent, recomputed from the score matrices released with the paper's code. These are "
        "not the numbers of the paper's table, whose body is lost."
    )
    header = ["Data set, model", *(NAMES[method] for method in methods), "Chance"]
    return Table(None, caption, header, rows, folded="The scores released with the paper's code")


def parts_table(table4: pd.DataFrame) -> Table:
    """Behind Table 4: coverage on triggered and on clean prompts, which its mean hides."""
    frame = table4[table4.metric.isin(PARTS)]
    columns = list(frame.groupby(["dataset", "metric"], sort=False).groups)
    rows = list(_method_rows(frame, columns, frame.method.unique()).values())
    header = ["Method", *(f"{DATASETS[d]}, {metric.removeprefix('coverage_')} (%)" for d, metric in columns)]
    caption = f"Coverage by kind of validation prompt, with {_spread(frame)} Best bold, second best underlined."
    return Table(None, caption, header, rows, frame, folded="Coverage on triggered and on clean prompts")


def _mark(tuned: Tuned) -> str:
    return "" if assess_learning(tuned).learnt else " †"


def _paper_row(number: int, method: str, columns: list[tuple[str, str]]) -> Iterator[list[str]]:
    """The paper's printed numbers of a method, where paper.yaml has any."""
    printed = paper().get(f"table{number}", {})
    values = (printed.get(dataset, {}).get(method, {}).get(metric) for dataset, metric in columns)
    numbers = ["" if value is None else f"*{value:.1f}*" for value in values]
    if any(numbers):
        yield [f"*{NAMES[method]}, the paper*", *numbers]


def _method_rows(frame: pd.DataFrame, columns: Sequence[tuple], methods: Iterable[str]) -> dict[str, list[str]]:
    """A row a method: its cells in the columns (data set, metric), the best two of each marked, a baseline's grey."""
    rows = {method: [NAMES.get(method, "*Chance*")] for method in methods}
    for dataset, metric in columns:
        part = frame[(frame.dataset == dataset) & (frame.metric == metric)]
        groups = dict(list(part.groupby("method", sort=False)))
        means = {method: round(group.value.mean() * 100, 1) for method, group in groups.items()}
        ranked = sorted({mean for method, mean in means.items() if method not in _UNRANKED}, reverse=True)
        marks = dict(zip(ranked, ("**{}**", "<u>{}</u>"), strict=False))
        for method, row in rows.items():
            group, pattern = groups.get(method), "{}" if method in _UNRANKED else marks.get(means.get(method), "{}")
            row.append("" if group is None else with_published(pattern.format(_cell(group)), group))
    return {method: list(map(control_cell, row)) if method in BASELINES else row for method, row in rows.items()}


def _cell(rows: pd.DataFrame) -> str:
    """Percent with its interval, or mean ± s.d. over seeds."""
    if len(rows) > 1:
        values = rows.value * 100
        return f"{values.mean():.1f} ± {values.std():.1f}"
    return percent(rows.value.item(), rows.ci_low.item(), rows.ci_high.item())


def _spread(frame: pd.DataFrame) -> str:
    seeds = frame.seed.nunique()
    return f"mean ± s.d. over {seeds} seeds." if seeds > 1 else "95 % intervals over validation examples."
