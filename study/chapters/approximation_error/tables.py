"""Section 4.1's tables, with the paper's numbers beside ours, and the sentences that read them."""

from collections.abc import Iterator
from itertools import product

import pandas as pd

from study.chapters.approximation_error.errors import LISSA, growth
from study.chapters.approximation_error.truth import DAMPINGS
from study.config import Run
from study.methods import NAMES
from study.paper import paper, stated
from study.report.names import DATASETS
from study.report.results import save_table
from study.report.table import Prose, Table, difference_verdict, points, significant, times, with_published
from study.statistics import pooled

LINEAR = {"dense": "Exact, the dense way", "exact": "Exact, this book's way"}
LINEAR |= {f"lissa-{count}": f"LiSSA, {count} iteration{'s' * (count > 1)}" for count in LISSA}
LINEAR |= {"datainf": "DataInf", "gradsim": "GradSim", "fisher": "Empirical Fisher, exact"}
# What predicts retraining without a point.
PREDICTORS = {"exact": "Exact (Hessian)", "fisher": LINEAR["fisher"], "lissa": LINEAR["lissa-10"]}
PREDICTORS |= {key: LINEAR[key] for key in ("datainf", "gradsim")}
ERRORS = {"error": "absolute", "relative_error": "relative", "direction_error": "direction"}


def runtimes_table(run: Run, timed: pd.DataFrame) -> Table:
    """Table 5: running time and error beside the paper's, in the paper's three settings. Leaves table5_runtime.csv."""
    timed = save_table(run, "table5_runtime", timed)
    timed = _with_key(timed[timed.seed == run.seed])
    rows = []
    for printed in paper()["table5"]:
        part = timed[(timed.points == printed["points"]) & (timed.parameters == printed["parameters"])]
        part = part.set_index(["key", "metric"])
        rows.append([f"**{printed['points']} points, {printed['parameters']:,} parameters**", *[""] * 8])
        for key, name in LINEAR.items():
            paper_row = printed.get({"dense": "exact", "exact": None}.get(key, key), {})
            mark = " ‡" if part.loc[key].extrapolated.any() else ""
            faster = times(part.value["dense", "seconds"] / part.value[key, "seconds"])
            cells = [_number(part, key, "seconds", mark), faster, *(_number(part, key, metric) for metric in ERRORS)]
            cells.append(f"*{paper_row['seconds']:.2f}*" if paper_row else "")
            cells.append(f"*{times(printed['exact']['seconds'] / paper_row['seconds'])}*" if paper_row else "")
            cells.append(f"*{paper_row['error']:.3f}*" if "error" in paper_row else "")
            rows.append([name, *cells])
    caption = (
        "Running time and error against the exact influence, for softmax regression. Seconds go from fitted weights to "
        "scores; *faster*: how many times as fast as the dense way of the same column. Errors: absolute, relative, and "
        "of direction, 1 − cosine. In italics, the paper's. "
        f"Seed {run.seed}."
    )
    if timed.extrapolated.any():
        caption += (
            f" ‡: extrapolated from {run.profile.linear.dense_limit:,} parameters, writing the matrix by the square, "
            "solving with it by the cube of their number: more would take too long, or not fit in memory."
        )
    header = ["Method", "Seconds", "Faster", "Absolute error", "Relative error", "Direction error"]
    return Table("tab-runtime", caption, [*header, "*Seconds*", "*Faster*", "*Error*"], rows, timed)


def growth_table(run: Run, drawn: pd.DataFrame) -> Table:
    """Behind Figure 3: the exponents with which the errors grow. Leaves fig3_growth.csv."""
    grown = save_table(run, "fig3_growth", growth(drawn))
    grown = _with_key(grown[grown.seed == run.seed]).set_index(["key", "over", "metric"])
    columns = [(over, metric) for over in ("points", "parameters") for metric in ERRORS]
    keys = [key for key in LINEAR if key in grown.index]
    rows = [[LINEAR[key], *(_cell(grown.loc[(key, *column)]) for column in columns)] for key in keys]
    caption = (
        "How the errors grow: the exponent of the number of points and of parameters, with 95 % intervals over draws "
        f"of digits. 1 is in proportion, 0 not at all. Seed {run.seed}."
    )
    header = [f"{ERRORS[metric].capitalize()}, over {over}" for over, metric in columns]
    made = grown.reset_index()
    return Table(None, caption, ["Method", *header], rows, made, folded="How the errors grow, in numbers")


def truth_table(run: Run, agreement: pd.DataFrame) -> Table:
    """Predicted against actual change of the test loss, at the minimum. Leaves loo_truth.csv."""
    agreement = save_table(run, "loo_truth", agreement)
    agreement = agreement[agreement.seed == run.seed]
    minimum = (agreement.steps == 0) & (agreement.damping == 1) & (agreement.decay == run.profile.linear.decay)
    rows = []
    for method, name in PREDICTORS.items():
        part = agreement[minimum & (agreement.method == method)].set_index("metric")
        cells = (_cell(part.loc[metric], digits) for metric, digits in _AGREEMENT.items())
        rows.append([name, *cells])
    caption = (
        f"Predicted against actual change of the mean test loss when one of {run.profile.linear.left_out} training "
        "points is left out and the model is trained again to its minimum. Slope: of the actual change on the "
        f"predicted; 1 is right. 95 % intervals over training points. Seed {run.seed}."
    )
    return Table(None, caption, ["Method", "Pearson correlation", "Spearman correlation", "Slope"], rows, agreement)


def errors_text(drawn: pd.DataFrame, timed: pd.DataFrame) -> Prose:
    """The paper's statements on Figure 3 and Table 5, each with a verdict by a rule on this run's numbers."""
    wide = _with_key(timed).pivot_table(index=["points", "parameters"], columns=["key", "metric"], values="value")
    quantiles = drawn[drawn.method != "fisher"].groupby("metric").value.quantile([0.05, 0.5, 0.95]).unstack()
    ranges = {metric: f"{row[0.5]:.2f} ({row[0.05]:.2f} to {row[0.95]:.2f})" for metric, row in quantiles.iterrows()}
    approximations = [key for key in LINEAR if key not in ("dense", "exact", "fisher")]
    ratios = pd.concat([wide["exact", "seconds"] / wide[key, "seconds"] for key in approximations])
    ratio = wide["exact", "seconds"] / wide["lissa-10", "seconds"]
    gain = (wide["dense", "seconds"] / wide["exact", "seconds"]).round(-2)
    last = wide["lissa-10", "relative_error"]
    lines = [
        *_growth_lines(drawn),
        "- How much of it is scale: over all methods, sizes and draws the median relative error is "
        f"{ranges['relative_error']}, the median direction error {ranges['direction_error']}; in brackets the "
        "range of nine in ten.",
        "- *More iterations of LiSSA reduce the error*: the recursion converges to the exact influence by "
        "construction, so this is not tested. What ten iterations leave, in the settings of the table, is a relative "
        f"error of {last.min():.2f} to {last.max():.2f}.",
        "- *The exact influence takes far longer than its approximations*: "
        f"in {(ratios > 2).sum()} of {len(ratios)} comparisons, once the structure of the Hessian is used. The exact "
        f"scores take {ratios.min():.2f} to {ratios.max():.2f} times as long as an approximation (far longer: over "
        f"twice), {ratio.min():.2f} to {ratio.max():.2f} times as long as ten iterations of LiSSA. They are "
        f"{gain.min():,.0f} to {gain.max():,.0f} times as fast as the dense way.",
    ]
    return Prose("\n".join(lines))


def iterations_text(frame: pd.DataFrame) -> Prose:
    """By how much ten iterations of LiSSA, and its limit, change coverage, data set by data set."""
    gains = {key: pooled(part) for key, part in frame[frame.metric == "coverage_gain"].groupby(["dataset", "method"])}
    lines = []
    for dataset in frame.dataset.unique():
        parts = [
            f"{words} {points(*gain)} ({difference_verdict(*gain[1:], 'more', 'less')})"
            for method, words in (("lissa", "ten iterations instead of one"), ("exact", "the limit instead of ten"))
            if (gain := gains.get((dataset, method)))
        ]
        lines.append(f"- {DATASETS[dataset]}: {'; '.join(parts)}. In the paper accuracy {stated('figure4', dataset)}.")
    pairs = f"over {frame.seed.nunique()} seeds" if frame.seed.nunique() > 1 else "over the same validation examples"
    return Prose("\n".join([f"Changes of coverage, paired {pairs}, with 95 % intervals:\n", *lines]))


def truth_text(run: Run, agreement: pd.DataFrame) -> Prose:
    """What damping, weight decay and stopping early do to the agreement, in numbers."""
    decay = run.profile.linear.decay
    values = agreement.set_index(["metric", "method", "decay", "damping", "steps"]).value
    pearson, slope = values["pearson"], values["slope"]
    at_minimum = pearson["exact", decay, 1.0, 0]
    more, less = DAMPINGS[-1], DAMPINGS[0]
    lightest = min(pearson.index.unique("decay"))
    stopped = pearson.xs((decay, 1.0), level=("decay", "damping"))
    stopped = stopped[stopped.index.get_level_values("steps") > 0].unstack("method")
    first = stopped.index.min()
    reason = ""
    if pearson["exact", lightest, 1.0, 0] < at_minimum:
        reason = " A single point matters more to a model that is held back less, and the formula is of first order."
    best, name = stopped.loc[first].max(), _SENTENCE_NAMES[stopped.loc[first].idxmax()]
    lines = [
        f"- **At the minimum** the exact influence predicts retraining with a correlation of {at_minimum:.4f} and a "
        f"slope of {slope['exact', decay, 1.0, 0]:.2f}. DataInf reaches {pearson['datainf', decay, 1.0, 0]:.3f}, "
        f"LiSSA {pearson['lissa', decay, 1.0, 0]:.3f}, GradSim {pearson['gradsim', decay, 1.0, 0]:.3f}.",
        f"- **Damping** other than what the model was trained with: {pearson['exact', decay, less, 0]:.3f} at {less:g} "
        f"times the right one, {pearson['exact', decay, more, 0]:.3f} at {more:g} times, where the slope is "
        f"{slope['exact', decay, more, 0]:.1f}.",
        f"- **Less weight decay**, {lightest:g} in place of {decay:g}: {pearson['exact', lightest, 1.0, 0]:.3f}."
        + reason,
        f"- **Stopped early**, after {first} steps of gradient descent, the best is {name} ({best:.3f}), and the exact "
        f"influence, which assumes a minimum, has {stopped.exact[first]:.3f}. After 10 steps LiSSA with its "
        f"10 iterations: {stopped.lissa[10]:.3f}.",
    ]
    return Prose("\n".join(lines))


_AGREEMENT = {"pearson": 4, "spearman": 4, "slope": 2}  # metric -> digits
_SENTENCE_NAMES = NAMES | {"exact": "the exact influence", "fisher": "the empirical Fisher", "lissa": "LiSSA"}


def _growth_lines(drawn: pd.DataFrame) -> Iterator[str]:
    grown = _with_key(growth(drawn)).set_index(["key", "over", "metric"])
    for over, metric in product(("points", "parameters"), ("error", "direction_error")):
        part = grown.xs((over, metric), level=("over", "metric")).drop("fisher")
        growing = [LINEAR[key] for key, row in part.iterrows() if row.ci_low > 0]
        without = [LINEAR[key] for key, row in part.iterrows() if not row.ci_low > 0]
        clear = f"clear for {'; '.join(growing)}" if growing else "clear for none"
        clear = f"clear for all {len(part)} approximations" if not without else clear
        yield (
            f"- *The error increases with the number of {over}*, {ERRORS[metric]} error: {clear}; exponents from "
            f"{part.value.min():.2f} ({LINEAR[part.value.idxmin()]}) to {part.value.max():.2f} "
            f"({LINEAR[part.value.idxmax()]})."
        )


def _with_key(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with a key of `LINEAR`: the method, LiSSA's with its number of iterations."""
    return frame.assign(key=frame.method.where(frame.method != "lissa", "lissa-" + frame.iterations.astype(str)))


def _number(rows: pd.DataFrame, key: str, metric: str, mark: str = "") -> str:
    """A cell; empty where the method has no such number, as the exact way no error."""
    if (key, metric) not in rows.index:
        return ""
    row = rows.loc[(key, metric)]
    number = significant(row.value)
    digits = len(number.partition(".")[2])
    return with_published(number + mark, row, write=lambda value: f"{value:,.{digits}f}")


def _cell(row: pd.Series, digits: int = 2) -> str:
    write = f"{{:.{digits}f}}".format
    return with_published(f"{write(row.value)}<br>[{write(row.ci_low)}, {write(row.ci_high)}]", row, write=write)
