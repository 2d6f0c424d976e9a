"""Tidy tables, and the tables of the book: the paper's numbers beside ours."""

from __future__ import annotations

import html
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
import yaml

from ifcore import metrics
from ifcore.study import files
from ifcore.study.config import Run
from ifcore.study.experiment import Attribution

NAMES = {"datainf": "DataInf", "lissa": "LiSSA", "gradsim": "GradSim", "exact": "Exact", "repsim": "RepSim"}
DATASETS = {"mixed_small": "Mixed (small)", "mixed_large": "Mixed (large)"}
COLUMNS = ["dataset", "method", "metric", "value", "ci_low", "ci_high", "n_train", "n_val", "seed", "profile", "model"]


@dataclass(frozen=True)
class Table:
    """A table of the book. `frame` is what it was made of; cells are marked-up text, `**best**` and `<u>second</u>`.

    JupyterLab shows it as HTML, the book as a numbered MyST table.
    """

    label: str
    caption: str
    header: list[str]
    rows: list[list[str]]
    frame: pd.DataFrame

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{_html(cell)}</th>" for cell in self.header)
        body = "".join("<tr>" + "".join(f"<td>{_html(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        caption = f"<caption>{_html(self.caption)}</caption>"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _repr_markdown_(self) -> str:
        align = ["---", *["---:"] * (len(self.header) - 1)]
        lines = ["| " + " | ".join(row) + " |" for row in (self.header, align, *self.rows)]
        return "\n".join([f"```{{table}} {self.caption}", f":name: {self.label}", "", *lines, "```"])


@dataclass(frozen=True)
class Prose:
    """A paragraph whose numbers come from the run, in Markdown."""

    text: str

    def _repr_markdown_(self) -> str:
        return self.text


def harmful(run: Run, attributions: Mapping[str, Attribution]) -> Table:
    """Table 2: accuracy and coverage of finding the harmful training examples. Leaves table2_harmful.csv."""
    frame = tidy(run, attributions)
    seeds = _publish(run, "table2_harmful", frame)
    paper = _paper()["table2_prose"]
    columns = [(dataset, metric) for dataset in attributions for metric in ("accuracy", "coverage")]
    header = ["Method", *(f"{DATASETS[d]}, {_SHORT[m]} (%)" for d, m in columns), "The paper (%)"]
    cells = {column: _column(seeds, *column) for column in columns}
    rows = [
        [NAMES[method], *(cells[column][method] for column in columns), str(paper.get(method, "not in it"))]
        for method in run.profile.methods
    ]
    rows.append(["*Chance*", *(cells[column]["chance"] for column in columns), ""])
    caption = (
        "Finding the harmful examples in the fine-tuning data: accuracy and coverage, with "
        + _spread(seeds)
        + " Best in bold, second best underlined. The body of the paper's table is lost; the last column is its text."
    )
    return Table("tab-harmful", caption, header, rows, seeds)


def asr_reported() -> Table:
    """Table 1, as far as the paper's numbers survive: the attack success rate's change by fine-tuning."""
    frame = pd.DataFrame(
        [
            (name.split("-")[1], each["asr"])
            for name, each in _paper()["table6"].items()
            if name.startswith("original-")
        ],
        columns=["fine-tuned on", "change"],
    )
    rows = [[name.capitalize(), f"{change:.2f}"] for name, change in frame.itertuples(index=False)]
    caption = (
        "Attack success rate of Llama-2-7B-chat after fine-tuning: size of its change against the original model, as "
        "the paper's Table 6 has it. The body of the paper's Table 1 is lost, and this edition measures no attack "
        "success of its own."
    )
    return Table("tab-asr", caption, ["Fine-tuned on", "The paper: change (percentage points)"], rows, frame)


def what_ran(run: Run, attributions: Mapping[str, Attribution]) -> Prose:
    """The box that opens a chapter: model, sizes, seed, machine, minutes."""
    first = next(iter(attributions.values()))
    lines = [
        f"Model: `{run.profile.model}` in {first.precision}, LoRA of rank {run.profile.lora_rank} on query and value",
        *(
            f"{DATASETS[name]}: {len(a.train)} training and {len(a.val)} validation examples "
            f"({a.tokens['train']:,} and {a.tokens['val']:,} tokens), {len(a.history)} epochs of up to "
            f"{run.profile.epochs}, scored after epoch {a.epoch}"
            for name, a in attributions.items()
        ),
        f"Settings: learning rate {run.profile.learning_rate:g}, batches of {run.profile.batch_size}, "
        f"damping {run.profile.damping:g}, {run.profile.lissa_iterations} LiSSA iterations",
        f"Profile `{run.profile.name}`, seed {run.seed}",
        f"Machine: {_machine(first.device)}",
        "Minutes: "
        + ", ".join(
            f"{stage} {sum(a.seconds[stage] for a in attributions.values()) / 60:.1f}" for stage in first.seconds
        ),
    ]
    return Prose("\n".join(["```{admonition} What ran", *(f"- {line}" for line in lines), "```"]))


def read_harmful(table: Table) -> Prose:
    """Says, for each mix and metric, whether RepSim leads as in the paper, with the numbers."""
    means = table.frame.groupby(["dataset", "metric", "method"], sort=False).value.mean() * 100
    sentences = []
    for dataset, metric in means.index.droplevel("method").unique():
        column = means[dataset, metric].drop("chance")
        if "repsim" not in column or len(column) < 2:
            continue
        others = column.drop("repsim")
        best, lead = others.idxmax(), column["repsim"] - others.max()
        order = "as in the paper" if lead > 0 else "unlike in the paper"
        verb = "leads" if lead > 0 else ("ties with" if lead == 0 else "trails")
        sentences.append(
            f"On {DATASETS[dataset]}, RepSim's {metric} is {column['repsim']:.1f} %: it {verb} the best influence "
            f"method, {NAMES[best]} with {others.max():.1f} %"
            + (f", by {abs(lead):.1f} points, {order}." if lead else f", {order}.")
        )
    return Prose(" ".join(sentences))


def tidy(run: Run, attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """One row per (data set, method, metric): value and 95 % interval as shares, and what they are of."""
    rows = []
    for dataset, found in attributions.items():
        labels = [[example.label for example in part] for part in (found.train, found.val)]
        about = (len(found.train), len(found.val), run.seed, run.profile.name, run.profile.model)
        for metric in ("accuracy", "coverage"):
            for method, scores in found.scores.items():
                each = getattr(metrics, metric)(scores, *labels)
                rows.append((dataset, method, metric, each.value, each.low, each.high, *about))
            rows.append((dataset, "chance", metric, metrics.chance(*labels), None, None, *about))
    return pd.DataFrame(rows, columns=COLUMNS)


_SHORT = {"accuracy": "Acc.", "coverage": "Cover."}


def _publish(run: Run, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Write the run's CSV; give it back with those of the other seeds that ran the same profile."""
    files.write_csv(run.results / f"{name}.csv", frame)
    about = {"profile": run.profile.name, "seed": run.seed, "digest": run.profile.digest, "model": run.profile.model}
    files.write_json(run.results / "run.json", about)
    frames = [
        pd.read_csv(file)
        for file in sorted(run.results.parent.glob(f"seed-*/{name}.csv"))
        if files.read_json(file.parent / "run.json").get("digest") == run.profile.digest
    ]
    return pd.concat(frames, ignore_index=True)


def _column(frame: pd.DataFrame, dataset: str, metric: str) -> dict[str, str]:
    """method -> cell: percent with its interval, or mean ± s.d. over seeds; the best two marked."""
    part = frame[(frame.dataset == dataset) & (frame.metric == metric)].drop(columns=["dataset", "metric"])
    cells, means = {}, {}
    for method, rows in part.groupby("method", sort=False):
        values = rows.value * 100
        means[method] = round(values.mean(), 1)
        cells[method] = f"{means[method]:.1f}"
        if len(rows) > 1:
            cells[method] += f" ± {values.std():.1f}"
        elif method != "chance":
            cells[method] += f" [{rows.ci_low.item() * 100:.1f}, {rows.ci_high.item() * 100:.1f}]"
    ranked = sorted({means[method] for method in means if method != "chance"}, reverse=True)
    for method in means.keys() - {"chance"}:
        if means[method] == ranked[0]:
            cells[method] = f"**{cells[method]}**"
        elif means[method] == ranked[1]:
            cells[method] = f"<u>{cells[method]}</u>"
    return cells


def _spread(frame: pd.DataFrame) -> str:
    seeds = frame.seed.nunique()
    return f"mean ± s.d. over {seeds} seeds." if seeds > 1 else "95 % intervals over validation examples."


def _machine(device: str) -> str:
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()}, {platform.system()})"


@cache
def _paper() -> dict:
    return yaml.safe_load((Path(__file__).parent / "paper.yaml").read_text(encoding="utf-8"))


def _html(cell: str) -> str:
    """A cell's marks as HTML, its text escaped."""
    text = html.escape(cell)
    for mark, tag in (("**", "b"), ("*", "i")):
        if text.startswith(mark) and text.endswith(mark):
            return f"<{tag}>{text.removeprefix(mark).removesuffix(mark)}</{tag}>"
    return text.replace("&lt;u&gt;", "<u>").replace("&lt;/u&gt;", "</u>")
