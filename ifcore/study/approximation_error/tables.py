"""The tables of section 4: the paper's numbers beside ours."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ifcore.study import approximation
from ifcore.study.config import Run
from ifcore.study.parameters import MODELS
from ifcore.study.table import Table
from ifcore.study.tables import NAMES, paper, publish

LINEAR = {
    "dense": "Exact, the dense way",
    "exact": "Exact, this book's way",
    "lissa-1": "LiSSA, 1 iteration",
    "lissa-5": "LiSSA, 5 iterations",
    "lissa-10": "LiSSA, 10 iterations",
    "datainf": "DataInf",
    "gradsim": "GradSim",
    "fisher": "Empirical Fisher, exact",
}
ERRORS = {"error": "absolute", "relative_error": "relative", "direction_error": "direction"}


def runtimes(run: Run, timed: pd.DataFrame) -> Table:
    """Table 5: running time and error beside the paper's, in the paper's three settings. Leaves table5_runtime.csv."""
    timed = timed.assign(key=keys(timed))
    publish(run, "table5_runtime", timed.drop(columns="key"))
    rows = []
    for printed in paper()["table5"]:
        part = timed[(timed.points == printed["points"]) & (timed.parameters == printed["parameters"])]
        value = part.set_index(["key", "metric"]).value
        rows.append([f"**{printed['points']} points, {printed['parameters']:,} parameters**", *[""] * 8])
        for key, name in LINEAR.items():
            seconds = value[key, "seconds"]
            theirs = printed.get({"dense": "exact", "exact": None}.get(key, key), {})
            mark = " ‡" if part[part.key == key].extrapolated.any() else ""
            rows.append(
                [
                    name,
                    _significant(seconds) + mark,
                    _times(value["dense", "seconds"] / seconds),
                    *(_significant(value.get((key, metric))) for metric in ERRORS),
                    f"*{theirs['seconds']:.2f}*" if theirs else "",
                    f"*{_times(printed['exact']['seconds'] / theirs['seconds'])}*" if theirs else "",
                    f"*{theirs['error']:.3f}*" if "error" in theirs else "",
                ]
            )
    caption = (
        "Running time and error against the exact influence, for softmax regression. Seconds go from fitted weights to "
        "scores; *faster* is by how much than the dense way of the same column. Errors: absolute, relative, and "
        "relative after the best rescaling (direction). In italics, the paper's. "
        f"Seed {run.seed}."
    )
    if timed.extrapolated.any():
        caption += (
            f" ‡: extrapolated from {run.profile.linear.dense_limit:,} parameters, writing the matrix by the square, "
            "solving with it by the cube of their number; it would not fit in memory."
        )
    header = ["Method", "Seconds", "Faster", "Absolute error", "Relative error", "Direction error"]
    return Table("tab-runtime", caption, [*header, "*Seconds*", "*Faster*", "*Error*"], rows, timed)


def growth(run: Run, drawn: pd.DataFrame) -> Table:
    """Behind Figure 3: the exponents with which the errors grow."""
    found = approximation.growth(drawn)
    found = found.assign(key=keys(found)).set_index(["key", "over", "metric"])
    columns = [(over, metric) for over in ("points", "parameters") for metric in ERRORS]
    rows = [
        [name, *(_with_interval(found.loc[(key, *column)]) for column in columns)]
        for key, name in LINEAR.items()
        if key in found.index
    ]
    caption = (
        "How the errors grow: the exponent of the number of points and of parameters, with 95 % intervals over draws "
        f"of digits. 1 is in proportion, 0 not at all. Seed {run.seed}."
    )
    header = [f"{ERRORS[metric].capitalize()}, over {over}" for over, metric in columns]
    return Table(None, caption, ["Method", *header], rows, found.reset_index())


def truth(run: Run, agreement: pd.DataFrame) -> Table:
    """Predicted against actual change of the test loss, at the minimum. Leaves loo_truth.csv."""
    publish(run, "loo_truth", agreement)
    at = agreement[(agreement.steps == 0) & (agreement.damping == 1) & (agreement.decay == run.profile.linear.decay)]
    rows = []
    for method in ("exact", "fisher", "lissa", "datainf", "gradsim"):
        part = at[at.method == method].set_index("metric")
        name = {"exact": "Exact (Hessian)", "fisher": "Empirical Fisher, exact", "lissa": LINEAR["lissa-10"]}
        cells = (_with_interval(part.loc[metric], digits) for metric, digits in _AGREEMENT.items())
        rows.append([name.get(method, NAMES.get(method)), *cells])
    caption = (
        f"Predicted against actual change of the mean test loss when one of {run.profile.linear.left_out} training "
        "points is left out and the model is trained again to its minimum. Slope: of the actual change on the "
        f"predicted; 1 is right. 95 % intervals over training points. Seed {run.seed}."
    )
    return Table(None, caption, ["Method", "Pearson correlation", "Spearman correlation", "Slope"], rows, agreement)


def pairs(run: Run, frame: pd.DataFrame) -> Table:
    """Table 6: how far each pair of models is apart, in three ways. Leaves table6_delta.csv."""
    frame = publish(run, "table6_delta", frame)
    several = frame.seed.nunique() > 1
    rows = []
    for pair, part in frame.groupby("dataset", sort=False):
        cells = []
        for metric in ("asr", "delta", "delta_unscaled", "kl", "kl_first"):
            each, scale, digits = part[part.metric == metric], *((100, 1) if metric == "asr" else (1, 2))
            over_seeds = several and not metric.startswith("delta")  # whose spread is over LoRA modules
            spread = (each.value.std() if over_seeds else (each.value - each.ci_low).mean()) * scale
            cell = f"{each.value.mean() * scale:.{digits}f}"
            cells.append(cell if pd.isna(spread) else f"{cell} ± {spread:.{digits}f}")
        printed = paper()["table6"][pair]
        cells += [f"*{printed['asr']:.2f}*", f"*{printed['delta']:.2f} ± {printed['sd']:.2f}*"]
        rows.append([" vs ".join(MODELS[name] for name in pair.split("-")), *cells])
    over = f"over {frame.seed.nunique()} seeds" if several else "half the 95 % interval over prompts"
    caption = (
        "How far models are apart: in attack success rate (percentage points), in parameters (mean ± s.d. over LoRA "
        "modules of the norm of the difference of their updates, with the scaling α/r and without), and in what they "
        f"say (KL divergence in nats; ±: {over}). O: the original model; B, H, M: fine-tuned on the benign, the "
        "harmful and all examples of the small mixture. In italics, the paper's."
    )
    ours = ["ΔASR", "‖Δθ‖", "‖Δθ‖ unscaled", "KL, prompt", "KL, first token"]
    return Table("tab-delta", caption, ["Pair", *ours, "*ΔASR*", "*‖Δθ‖ unscaled*"], rows, frame)


_AGREEMENT = {"pearson": 4, "spearman": 4, "slope": 2}  # metric -> digits


def keys(frame: pd.DataFrame) -> pd.Series:
    """The method's name, LiSSA's with its number of iterations."""
    return frame.method.where(frame.method != "lissa", "lissa-" + frame.iterations.astype(str))


def _significant(value: float | None) -> str:
    """Three significant digits, without an exponent."""
    if value is None or pd.isna(value):
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return np.format_float_positional(value, precision=3, unique=False, fractional=False, trim="k")


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


def _with_interval(row: pd.Series, digits: int = 2) -> str:
    return f"{row.value:.{digits}f}<br>[{row.ci_low:.{digits}f}, {row.ci_high:.{digits}f}]"
