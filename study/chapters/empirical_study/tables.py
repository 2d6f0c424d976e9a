"""Tables 1 to 4, with the paper's numbers beside ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from ifcore import metrics
from study import datasets
from study.chapters.empirical_study import learning
from study.config import Run
from study.paper import paper
from study.pipeline import judging
from study.pipeline.attack import Attack
from study.pipeline.attributions import Attribution, quality
from study.pipeline.baselines import BASELINES
from study.report.names import COLUMNS, DATASETS, NAMES, RUN_COLUMNS
from study.report.results import save_table
from study.report.table import Table, control, percent, plain, whole, with_published

_SHORT = {"accuracy": "Acc.", "coverage": "Cover."}
PARTS = ("coverage_triggered", "coverage_clean")
_UNRANKED = {"chance", *BASELINES}
_LOST = (
    "The body of the paper's table is lost; the last column is its text. Rows of released scores were recomputed from "
    "the score matrices that came with the paper's code, and are not the printed table."
)
_GREY = "Grey: controls, which cannot know of influence (chapter Controls). "
_TUNED_ON = {"nothing": "original", "benign": "on benign", "harmful": "on harmful", "mixed": "on mixed"}


def attack_table(run: Run, attacks: Sequence[Attack]) -> Table:
    """Table 1: attack success rate of each model as it comes and fine-tuned. Leaves table1_asr.csv."""
    rows = []
    for attack in attacks:
        rate = judging.attack_success(attack.success)
        about = (None, len(attack.success), run.seed, run.profile.name, attack.model)
        rows.append(("mixed_small", attack.fine_tuned_on, "asr", rate.value, rate.low, rate.high, *about))
    seeds = save_table(run, "table1_asr", pd.DataFrame(rows, columns=[*COLUMNS, *RUN_COLUMNS]))
    table = [
        [
            f"`{model}`",
            *(with_published(_cell(rows), rows) for rows in (part[part.method == each] for each in _TUNED_ON)),
        ]
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
        _LOST,
    )


def class_table(run: Run, attributions: Mapping[str, Attribution]) -> Table:
    """Table 3: accuracy and coverage of finding training examples of the same class. Leaves table3_class.csv."""
    return _scores_table(
        run,
        attributions,
        "table3_class",
        "tab-class",
        "Finding the training examples of the validation example's class",
        _LOST,
    )


def backdoor_table(run: Run, attributions: Mapping[str, Attribution]) -> Table:
    """Table 4: accuracy and coverage of finding training examples with the same trigger. Leaves table4_backdoor.csv.

    The file has coverage on triggered and on clean prompts apart, too (`coverage_triggered`, `coverage_clean`).
    """
    frame = pd.concat([tidy(run, attributions), *(_parts(run, found) for found in attributions.values())])
    return _scores_table(
        run,
        attributions,
        "table4_backdoor",
        "tab-backdoor",
        "Finding the training examples with the validation example's trigger",
        "Under ours, in italics, stand the paper's, on Llama-2-7B-chat.",
        frame,
    )


def parts_table(table4: Table) -> Table:
    """Under Table 4: coverage on triggered and on clean prompts, which its mean hides."""
    frame = table4.frame[table4.frame.metric.isin(PARTS)]
    columns = list(frame.groupby(["dataset", "metric"], sort=False).groups)
    cells = {column: _column(frame, *column) for column in columns}
    methods = list(frame.method.unique())
    rows = [[NAMES.get(m, "*Chance*"), *(cells[column].get(m, "") for column in columns)] for m in methods]
    rows = [list(map(control, row)) if m in BASELINES else row for m, row in zip(methods, rows, strict=True)]
    header = ["Method", *(f"{DATASETS[d]}, {metric.removeprefix('coverage_')} (%)" for d, metric in columns)]
    caption = f"Coverage by kind of validation prompt, with {_spread(frame)} Best bold, second best underlined."
    return Table(None, caption, header, rows, frame)


def by_class_table(run: Run, attributions: Mapping[str, Attribution]) -> Table:
    """Behind Table 3: each method's accuracy and coverage for each class by itself. Leaves table3_by_class.csv."""
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
    seeds = save_table(run, "table3_by_class", frame)
    frame = seeds[seeds.seed == run.seed]
    methods = list(frame.method.unique())
    cells = []
    for (dataset, label), part in frame.groupby(["dataset", "class"], sort=False):
        row = part.set_index(["method", "metric"]).loc
        pairs = ([row[method, metric] for metric in ("accuracy", "coverage")] for method in methods)
        found = (with_published(" / ".join(whole(each.value) for each in pair), *pair, write=whole) for pair in pairs)
        cells.append([f"{DATASETS[dataset]}: {plain(label)}", *found])
    caption = "Accuracy / coverage in percent, class by class."
    return Table(None, caption, ["Class", *(NAMES.get(m, "Chance") for m in methods)], cells, frame)


def _parts(run: Run, found: Attribution) -> pd.DataFrame:
    """The rows of `PARTS`: coverage of the validation examples with a trigger, and of those without."""
    parts, complies = [], datasets.family(found.dataset).complies
    for metric, triggered in zip(PARTS, (True, False), strict=True):
        part = [i for i, example in enumerate(found.val) if complies(example) == triggered]
        if part:
            scores = {method: rows[part] for method, rows in found.scores.items()}
            chosen = replace(found, val=[found.val[i] for i in part], scores=scores)
            each = tidy(run, {found.dataset: chosen})
            parts.append(each[each.metric == "coverage"].assign(metric=metric))
    return pd.concat(parts)


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


def _scores_table(run, attributions, name, label, what, about_paper, frame=None) -> Table:
    """Rows are methods, columns accuracy and coverage of each data set.

    Under a method stand the paper's printed numbers or those of the released scores, in rows of their own, and the
    paper's words in a last column, where paper.yaml has them for the table of this name. `frame`: tidy rows, by default
    those of `tidy`.
    """
    number = name.split("_")[0]  # table2, table3, table4
    printed, words = paper().get(number, {}), paper().get(f"{number}_prose")
    released = paper()["released"].get(number, {})
    seeds = save_table(run, name, tidy(run, attributions) if frame is None else frame)
    columns = [(dataset, metric) for dataset in attributions for metric in ("accuracy", "coverage")]
    marks = {dataset: learning.mark(found) for dataset, found in attributions.items()}
    cells = {column: _column(seeds, *column) for column in columns}
    rows = []
    for method in (name for name in NAMES if name in set(seeds.method)):
        rows.append([NAMES[method], *(cells[column].get(method, "") for column in columns)])
        if words:
            rows[-1].append(words.get(method, "not in it"))
        if method in BASELINES:
            rows[-1] = list(map(control, rows[-1][: len(columns) + 1]))
        known = {"the paper": {d: each.get(method) for d, each in printed.items()}}
        for model in dict.fromkeys(model for each in released.values() for model in each["scores"]):
            scores = {d: each["scores"].get(model, {}).get(method) for d, each in released.items()}
            known[f"released scores, {model}"] = scores
        for source, of in known.items():
            if any(of.get(dataset) for dataset in attributions):
                numbers = (f"*{of[d][m]:.1f}*" if of.get(d) else "" for d, m in columns)
                rows.append([f"*{NAMES[method]}, {source}*", *numbers])
    rows.append(["*Chance*", *(cells[column]["chance"] for column in columns)])
    counts = {
        "*Examples, training / validation*": {d: (len(f.train), len(f.val)) for d, f in attributions.items()},
        "*Examples, the paper*": {d: tuple(each.values()) for d, each in paper()["counts"].items()},
    }
    for title, of in counts.items():
        pairs = [["*{:,} / {:,}*".format(*of[dataset]) if dataset in of else "", ""] for dataset in attributions]
        rows.append([title, *sum(pairs, [])])
    header = ["Method", *(f"{DATASETS[d]}{marks[d]}, {_SHORT[m]} (%)" for d, m in columns)]
    header += ["The paper's text"] if words else []
    rows = [row + [""] * (len(header) - len(row)) for row in rows]
    caption = f"{what}: accuracy and coverage, with {_spread(seeds)} Best bold, second best underlined. "
    caption += f"{_GREY if set(BASELINES) & set(seeds.method) else ''}{about_paper}"
    if any(marks.values()):
        caption += " " + learning.NOT_LEARNT
    return Table(label, caption, header, rows, seeds)


def _column(frame: pd.DataFrame, dataset: str, metric: str) -> dict[str, str]:
    """method -> cell, the best two marked."""
    part = frame[(frame.dataset == dataset) & (frame.metric == metric)]
    cells = {method: _cell(rows) for method, rows in part.groupby("method", sort=False)}
    means = {method: round(rows.value.mean() * 100, 1) for method, rows in part.groupby("method", sort=False)}
    ranked = sorted({mean for method, mean in means.items() if method not in _UNRANKED}, reverse=True)
    for method in means.keys() - _UNRANKED:
        if means[method] == ranked[0]:
            cells[method] = f"**{cells[method]}**"
        elif means[method] == ranked[1]:
            cells[method] = f"<u>{cells[method]}</u>"
    return {method: with_published(cells[method], rows) for method, rows in part.groupby("method", sort=False)}


def _cell(rows: pd.DataFrame) -> str:
    """Percent with its interval, or mean ± s.d. over seeds."""
    if len(rows) > 1:
        values = rows.value * 100
        return f"{values.mean():.1f} ± {values.std():.1f}"
    return percent(rows.value.item(), rows.ci_low.item(), rows.ci_high.item())


def _spread(frame: pd.DataFrame) -> str:
    seeds = frame.seed.nunique()
    return f"mean ± s.d. over {seeds} seeds." if seeds > 1 else "95 % intervals over validation examples."
