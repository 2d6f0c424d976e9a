"""What a practitioner can do with the answer: which method, which damping, at what cost, beside what, confirmed how."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd

from ifcore.judge import CEILING
from study.chapters.controls.show import costs_text
from study.claims import numbers
from study.claims.answer import whose
from study.claims.claims import Claim
from study.claims.estimates import NoEstimate, Tables, get_table, learnt_rows, pooled_methods
from study.claims.verdicts import NOT_SUPPORTED, NOT_TESTABLE, OPEN, SUPPORTED
from study.config import Run
from study.methods import BASELINES, CONTROLS, LEFT_OUT, NAMES, READINGS
from study.pooling import Pooled
from study.report.table import Prose, Table, control_cell
from study.schema import ITSELF

SMALL = 0.05  # a difference in rank correlation that is not worth a choice
_REASONS = {  # section -> the paper's reason, and the page that tests it
    "4.1": ("Approximation", "sec-approximation"),
    "4.2": ("Convergence", "sec-convergence"),
    "4.3": ("Definition", "sec-parameters"),
}


def basis_text(run: Run, folders: Sequence[Path]) -> Prose:
    """Whose tables the page goes by."""
    if run.profile.model.startswith("random:") and folders[0].parent == run.results.parent:
        return Prose("The model of this run is of random weights. What follows shows that all runs, and says nothing.")
    return Prose(f"What is said here goes by {whose(folders)}.")


def recommendation_text(run: Run, tables: Tables) -> Prose:
    """A list that a reader can act on, from the tables of counterfactuals, controls and costs."""
    lds, tuned = _own(tables, "lds", "lds"), _own(tables, "lds", "lds_tuned")
    damping = _damping(_pooled(lds), _pooled(tuned), run.profile.damping)
    parts = _method(lds), damping, _cost(tables), _beside(lds), _labels(tables)
    return Prose("\n".join(f"- {part}" for part in parts if part))


def methods_table(tables: Tables) -> Table | None:
    """Methods and baselines side by side in labels, in prediction and in removal: means over data sets, with intervals.

    A cell is empty where a method has no value in one of the data sets. None without any value.
    """
    columns = [(_pooled(_own(tables, name, metric)), unit) for name, metric, unit in _JUDGED.values()]
    present = [name for name in NAMES if any(name in pooled for pooled, _ in columns)]
    if not present:
        return None
    rows = []
    for name in present:
        rows.append([NAMES[name], *(_text(pooled[name], unit) if name in pooled else "" for pooled, unit in columns)])
        if name in CONTROLS:
            rows[-1] = list(map(control_cell, rows[-1]))
    caption = "Means over data sets with 95 % intervals. Grey: never sees the fine-tuned model."
    return Table(None, caption, ["Method", *_JUDGED], rows, folded="All methods side by side, in numbers")


def reasons_text(scorecard: pd.DataFrame, claims: tuple[Claim, ...]) -> Prose:
    """The paper's three reasons, each by the verdicts of its claims."""
    by_id, lines = {claim.id: claim for claim in claims}, []
    for section, (reason, page) in _REASONS.items():
        rows = [row for row in scorecard.itertuples() if row.section == section]
        counts = f"Supported: {sum(row.verdict == SUPPORTED for row in rows)} of {len(rows)} claims. "
        parts = [
            f"{verdict}: {'; '.join(_lowered(by_id[row.claim].claim) for row in rows if row.verdict == verdict)}"
            for verdict in (SUPPORTED, NOT_SUPPORTED, OPEN, NOT_TESTABLE)
            if any(row.verdict == verdict for row in rows)
        ]
        lines.append(f"- **{reason}** ({{ref}}`{page}`). {counts}{'. '.join(map(numbers.capitalised, parts))}.")
    return Prose("\n".join(lines))


def _own(tables: Tables, name: str, metric: str) -> pd.DataFrame:
    """Each method's own rows of a metric, of the data sets that were learnt; none where there is no table."""
    try:
        frame = learnt_rows(tables, name) if name == "controls" else get_table(tables, name)
    except NoEstimate:
        frame = pd.DataFrame(columns=["dataset", "method", "metric", "against"])
    return frame[(frame.metric == metric) & (frame.against == ITSELF)]


def _method(scores: pd.DataFrame) -> str:
    no_methods = (*CONTROLS, *READINGS, CEILING, LEFT_OUT)
    pooled = {name: mean for name, mean in _pooled(scores).items() if name not in no_methods}
    if not pooled:
        return ""
    best = max(pooled, key=lambda name: pooled[name].mean)
    near = [name for name in pooled if name != best and pooled[best].mean - pooled[name].mean < SMALL]
    text = f"**Which method.** {NAMES[best]} ranks halves of the data most as retraining does ({_text(pooled[best])}"
    count = scores.dataset.nunique()
    text += f", mean over {count} data sets" if count > 1 else ""
    if len(ceiling := scores[scores.method == CEILING]):
        text += f"; training again from another seed {ceiling.value.mean():.2f}"
    text += ")"
    listed = ", ".join(f"{NAMES[name]} ({_text(pooled[name])})" for name in near)
    text += f"; within {SMALL} of it: {listed}" if near else ""
    return f"{text}. RepSim has {_text(pooled['repsim'])}." if "repsim" in pooled and best != "repsim" else f"{text}."


def _damping(plain: dict[str, Pooled], tuned: dict[str, Pooled], damping: float) -> str:
    gains = {name: tuned[name].mean - plain[name].mean for name in tuned if name in plain}
    if not gains:
        return ""
    listed = ", ".join(f"{NAMES[name]} {gain:+.2f}".replace("-", "−") for name, gain in gains.items())
    worth = [NAMES[name] for name in gains if tuned[name].interval(0.05)[0] > plain[name].mean + SMALL]
    advice = f"tune it for {', '.join(worth)}" if worth else f"keep {damping:g} of each block's mean squared gradient"
    return f"**Which damping.** Choosing it on other halves changes the score by: {listed}. So {advice}."


def _cost(tables: Tables) -> str:
    try:
        return f"**At what cost.** {costs_text(get_table(tables, 'costs')).text}"
    except (NoEstimate, KeyError):
        return ""


def _beside(scores: pd.DataFrame) -> str:
    pooled = _pooled(scores[scores.method.isin(list(CONTROLS))])
    if not pooled:
        return ""
    best = max(pooled, key=lambda name: pooled[name].mean)
    return (
        f"**Compare with what.** Of the scores that never see the fine-tuned model {NAMES[best]} predicts retraining "
        f"best ({_text(pooled[best])}). Compute it first: where it does as well on your data, gradients of the "
        "fine-tuned model add nothing."
    )


def _labels(tables: Tables) -> str:
    pooled = _pooled(_own(tables, "controls", "coverage"))
    best, baseline = (
        max((name for name in pooled if (name in BASELINES) == among), key=lambda name: pooled[name].mean, default=None)
        for among in (False, True)
    )
    if best is None or baseline is None:
        return ""
    return (
        f"**To find more of the same class**, which is another question: of the methods {NAMES[best]} has the highest "
        f"coverage, {100 * pooled[best].mean:.0f} %, of the baselines {NAMES[baseline]}, "
        f"{100 * pooled[baseline].mean:.0f} %; means over the data sets learnt."
    )


def _pooled(rows: pd.DataFrame) -> dict[str, Pooled]:
    return {method: mean for method, mean, _ in pooled_methods(rows)} if len(rows) else {}


def _text(estimate: Pooled, unit: str = "number") -> str:
    """A pooled estimate with its interval, cut off where such a number must lie."""
    least, most = _RANGES.get(unit, (-inf, inf))
    low, high = np.clip(estimate.interval(0.05), least, most)
    return numbers.with_ends(estimate.mean, low, high, unit)


_RANGES = {"share": (0, 1), "number": (-1, 1)}  # of coverage, and of a rank correlation
_JUDGED = {  # column -> its table, the metric, its unit
    "Coverage, labels (%)": ("controls", "coverage", "share"),
    "Linear datamodeling score": ("lds", "lds", "number"),
    "Rise after removal (nats)": ("removal", "rise", "nats"),
}


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
