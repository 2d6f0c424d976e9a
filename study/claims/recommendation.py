"""What a practitioner can do with the answer: which method, which damping, at what cost, beside what, confirmed how."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
from scipy.stats import gmean

from ifcore.judge import CEILING
from study.claims.answer import whose
from study.claims.claims import Claim
from study.claims.estimates import NoEstimate, Tables, get_table, learnt_rows, mean_by_seed
from study.claims.verdicts import NOT_SUPPORTED, NOT_TESTABLE, OPEN, SUPPORTED
from study.config import Run
from study.methods import BASELINES, CONTROLS, LEFT_OUT, NAMES, READINGS
from study.pooling import Pooled, pool
from study.report.table import Prose, interval, times
from study.schema import ITSELF

SMALL = 0.05  # a difference in rank correlation that is not worth a choice
_REASONS = {"4.1": "Approximation", "4.2": "Convergence", "4.3": "Definition"}


def basis_text(run: Run, folders: Sequence[Path]) -> Prose:
    """Whose tables the page goes by."""
    if run.profile.model.startswith("random:"):
        return Prose("The model of this run is of random weights. What follows shows that all runs, and says nothing.")
    return Prose(f"What is said here goes by {whose(folders)}.")


def recommendation_text(tables: Tables) -> Prose:
    """A list that a reader can act on, from the tables of counterfactuals, controls and costs."""
    parts = (_method(tables), _damping(tables), _cost(tables), _beside(tables), _labels(tables))
    return Prose("\n".join(f"- {part}" for part in parts if part))


def reasons_text(scorecard: pd.DataFrame, claims: tuple[Claim, ...]) -> Prose:
    """The paper's three reasons, each by the verdicts of its claims."""
    by_id, lines = {claim.id: claim for claim in claims}, []
    for section, reason in _REASONS.items():
        rows = [row for row in scorecard.itertuples() if row.section == section]
        parts = [
            f"{verdict}: {'; '.join(_lowered(by_id[row.claim].claim) for row in rows if row.verdict == verdict)}"
            for verdict in (SUPPORTED, NOT_SUPPORTED, OPEN, NOT_TESTABLE)
            if any(row.verdict == verdict for row in rows)
        ]
        lines.append(f"- **{reason}** ({{ref}}`{_PAGES[section]}`). {'. '.join(map(_capitalised, parts))}.")
    return Prose("\n".join(lines))


_PAGES = {"4.1": "sec-approximation", "4.2": "sec-convergence", "4.3": "sec-parameters"}


def _method(tables: Tables) -> str:
    try:
        frame = get_table(tables, "lds")
    except NoEstimate:
        return ""
    scores = frame[(frame.metric == "lds") & (frame.against == ITSELF)]
    pooled = {name: mean for name, mean in _pooled(scores) if name not in (*CONTROLS, *READINGS, CEILING, LEFT_OUT)}
    best = max(pooled, key=lambda name: pooled[name].mean)
    near = [name for name in pooled if name != best and pooled[best].mean - pooled[name].mean < SMALL]
    text = f"**Which method.** {NAMES[best]} ranks halves of the data most as retraining does ({_number(pooled[best])}"
    count = scores.dataset.nunique()
    text += f", mean over {count} data sets" if count > 1 else ""
    if len(ceiling := scores[scores.method == CEILING]):
        text += f"; training again from another seed {ceiling.value.mean():.2f}"
    text += ")"
    text += (
        f"; within {SMALL} of it: {', '.join(f'{NAMES[name]} ({_number(pooled[name])})' for name in near)}"
        if near
        else ""
    )
    return f"{text}. RepSim has {_number(pooled['repsim'])}." if "repsim" in pooled and best != "repsim" else f"{text}."


def _damping(tables: Tables) -> str:
    frame = tables.get("lds")
    if frame is None:
        return ""
    tuned, plain = (
        dict(_pooled(frame[(frame.metric == metric) & (frame.against == ITSELF)])) for metric in ("lds_tuned", "lds")
    )
    gains = {name: tuned[name].mean - plain[name].mean for name in tuned if name in plain}
    if not gains:
        return ""
    listed = ", ".join(f"{NAMES[name]} {gain:+.2f}".replace("-", "−") for name, gain in gains.items())
    most = max(gains, key=lambda name: gains[name])
    advice = (
        f"tune it for {NAMES[most]}, on halves other than those you judge by"
        if gains[most] >= SMALL
        else "keep the default, 0.1 of the mean squared gradient of each block"
    )
    return f"**Which damping.** Choosing it on other halves changes the score by: {listed}. So {advice}."


def _cost(tables: Tables) -> str:
    try:
        wide = get_table(tables, "costs").groupby(["dataset", "method", "metric"]).value.mean().unstack("metric")
        tuning, influence, repsim = (wide.xs(name, level="method") for name in ("fine-tune", "influence", "repsim"))
    except (NoEstimate, KeyError):
        return ""
    share = gmean((influence.seconds / tuning.seconds).dropna())
    text = f"**At what cost.** Gradients and scores take {share:.2f} times as long as the fine-tune"
    longer = (influence / repsim).seconds.dropna()
    return f"{text}, and {times(gmean(longer))} as long as RepSim's forward pass." if len(longer) else f"{text}."


def _beside(tables: Tables) -> str:
    frame = tables.get("lds")
    if frame is None:
        return ""
    scores = frame[(frame.metric == "lds") & (frame.against == ITSELF) & frame.method.isin(list(CONTROLS))]
    pooled = dict(_pooled(scores))
    if not pooled:
        return ""
    best = max(pooled, key=lambda name: pooled[name].mean)
    return (
        f"**Compare with what.** Of the scores that never see the fine-tuned model {NAMES[best]} predicts retraining "
        f"best ({_number(pooled[best])}). Compute it first: where it does as well on your data, gradients of the "
        "fine-tuned model add nothing."
    )


def _labels(tables: Tables) -> str:
    try:
        frame = learnt_rows(tables, "controls")
    except NoEstimate:
        return ""
    rows = frame[(frame.metric == "coverage") & (frame.against == ITSELF)]
    methods = {name: mean for name, mean in _pooled(rows) if name not in BASELINES}
    if not methods:
        return ""
    best = max(methods, key=lambda name: methods[name].mean)
    return (
        f"**To find more of the same kind**, which is another question, {NAMES[best]} has the highest coverage: "
        f"{100 * methods[best].mean:.0f} %, mean over the data sets learnt."
    )


def _pooled(rows: pd.DataFrame) -> Iterator[tuple[str, Pooled]]:
    """Each method that all data sets have, its mean over them pooled over seeds."""
    everywhere = rows.groupby("method").dataset.nunique() == rows.dataset.nunique()
    for method, part in rows[rows.method.map(everywhere).astype(bool)].groupby("method", sort=False):
        by_seed = mean_by_seed(part, paired=False)
        yield str(method), pool(by_seed.value, by_seed.ci_low, by_seed.ci_high)


def _number(estimate: Pooled) -> str:
    low, high = estimate.interval(0.05)
    return f"{estimate.mean:.2f}{interval(max(low, -1), min(high, 1))}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]
