"""A validation in a sentence, a table as text, and a picture."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ifcore import io, sanitize
from ifcore.baselines import NAMES
from ifcore.datamodels import Estimate
from ifcore.judge import ALONE, CEILING, HALVES, REMOVAL
from ifcore.methods import METHODS
from ifcore.retraining_plan import WITHIN
from ifcore.validation import Validation

TABLE, PICTURE = "validation.csv", "validation.png"
TITLES = {
    HALVES: "ranks of {} halves (linear datamodeling score)",
    REMOVAL: "rise of the explained loss without the {} on top",
    ALONE: "ranks of fine-tunes without one example",
}


def report(validation: Validation) -> str:
    """Tables of all that was asked, and the sentence that sums up."""
    lines = []
    for question in validation.table.question.unique():
        baseline = best_baseline(validation, question)
        lines.append(f"{_title(validation, question)}; ahead of {_name(baseline)} by")
        lines += _rows(validation, question, baseline)
    before, after = validation.refitted
    lines.append(f"mean explained loss: {before:.3f} with the adapter given, {after:.3f} fine-tuned again on all")
    if abs(before - after) > 0.1 * max(abs(before), abs(after), 1e-9):
        lines.append("  these differ: check the settings of the fine-tune, or the adapter is not what was validated")
    if validation.damping:
        lines.append("damping: " + ", ".join(f"{name} {value:g}" for name, value in validation.damping.items()))
    return "\n".join([*lines, sentence(validation)])


def sentence(validation: Validation) -> str:
    """How well the best method ranks halves, beside the best baseline and the ceiling."""
    of_methods = [name for name in validation.scores if name not in NAMES]
    best = max(of_methods, key=lambda name: _value(validation, HALVES, name).value)
    baseline = best_baseline(validation, HALVES)
    lead, top = validation.estimate(HALVES, best, baseline), validation.estimate(HALVES, CEILING)
    parts = [
        f"{_name(best)} ranks halves as retraining does with {_text(_value(validation, HALVES, best))}",
        f"{_name(baseline)} {_text(_value(validation, HALVES, baseline))}",
        f"ceiling {_text(top)}" if top else "no ceiling",
    ]
    assert lead is not None
    standing = "ahead of" if lead.low > 0 else "behind" if lead.high < 0 else "not told apart from"
    return f"{'; '.join(parts)}. It is {standing} {_name(baseline)}: {_text(lead, signed=True)}"


def best_baseline(validation: Validation, question: str) -> str:
    """That with the highest value."""
    names = [name for name in NAMES if validation.estimate(question, name)]
    return max(names, key=lambda name: _value(validation, question, name).value)


def write(validation: Validation, folder: Path) -> str:
    """Leave the table and, where matplotlib is installed, the picture; where they are, in a line."""
    io.write_csv(folder / TABLE, validation.table)
    try:
        picture = figure(validation)
    except ImportError:
        return f"{folder / TABLE} (pip install matplotlib for a picture)"
    io.write(folder / PICTURE, lambda path: picture.savefig(path, format="png", dpi=150))
    return f"{folder / TABLE}, {folder / PICTURE}"


def figure(validation: Validation) -> Any:
    """Each method and baseline with its interval, a panel a question; the ceiling dotted. A matplotlib Figure."""
    from matplotlib.figure import Figure  # an extra

    questions = validation.table.question.unique()
    names = [*validation.scores, WITHIN]
    size = 2.2 + 3.4 * len(questions), 1.2 + 0.26 * len(names)
    picture = Figure(figsize=size, layout="constrained")
    for axis, question in zip(picture.subplots(1, len(questions), squeeze=False)[0], questions, strict=True):
        estimates = {name: validation.estimate(question, name) for name in names}
        shown = [(name, value) for name, value in estimates.items() if value is not None][::-1]
        for place, (name, value) in enumerate(shown):
            colour = "#777777" if name in (*NAMES, WITHIN) else "#0072B2"
            reach = [[value.value - value.low], [value.high - value.value]]
            axis.errorbar(value.value, place, xerr=np.nan_to_num(reach), fmt="o", ms=4, color=colour, capsize=2)
        axis.set_yticks(range(len(shown)), [_name(name) for name, _ in shown], fontsize=8)
        axis.axvline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
        if top := validation.estimate(question, CEILING):
            axis.axvline(top.value, color="black", linewidth=0.8, linestyle=":", zorder=0)
        axis.set_title(_title(validation, question), fontsize=8, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    return picture


def _rows(validation: Validation, question: str, baseline: str) -> list[str]:
    """A line a method: its value, and its lead over the best baseline."""
    table: pd.DataFrame = validation.table[(validation.table.question == question) & (validation.table.against == "")]
    lines = []
    for name in table.method:
        lead = validation.estimate(question, name, baseline)
        ahead = _text(lead, signed=True) if lead else ""
        lines.append(f"  {_name(name):28} {_text(_value(validation, question, name)):20} {ahead}".rstrip())
    return lines


def _title(validation: Validation, question: str) -> str:
    plan = validation.plan
    return TITLES[question].format(plan.removed if question == REMOVAL else len(plan.halves))


def _value(validation: Validation, question: str, name: str) -> Estimate:
    value = validation.estimate(question, name)
    assert value is not None
    return value


def _name(name: str) -> str:
    """As it is shown: of scores that were given, the name of their table."""
    others = {CEILING: "ceiling (another seed)", WITHIN: "random of the class"}
    return METHODS[name].display_name if name in METHODS else (NAMES | others).get(name, sanitize.printable(name))


def _text(value: Estimate, signed: bool = False) -> str:
    sign = "+" if signed else ""
    numbers = (f"{number:{sign}.2f}" for number in (value.low, value.high))
    return f"{value.value:{sign}.2f}" + ("" if np.isnan(value.low) else f" [{', '.join(numbers)}]")
