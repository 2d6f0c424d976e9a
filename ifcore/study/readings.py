"""Sentences about section 4: the paper's statements, each with this run's numbers and a verdict by a fixed rule."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ifcore.study import approximation, convergence, intervals
from ifcore.study.config import Run
from ifcore.study.table import Prose
from ifcore.study.tables import DATASETS, NAMES, paper
from ifcore.study.tables_why import ERRORS, LINEAR, keys


def errors(drawn: pd.DataFrame, timed: pd.DataFrame) -> Prose:
    """The paper's statements on Figure 3 and Table 5, each with a verdict by a rule on this run's numbers."""
    grown = approximation.growth(drawn)
    grown = grown.assign(key=keys(grown)).set_index(["key", "over", "metric"])
    lines = []
    for over in ("points", "parameters"):
        for metric in ("error", "relative_error"):
            part = grown.xs((over, metric), level=("over", "metric")).drop("fisher")
            grow = [LINEAR[key] for key, row in part.iterrows() if row.ci_low > 0]
            lines.append(
                f"- *The error increases with the number of {over}*, {ERRORS[metric]} error: "
                f"{_verdict(len(grow), len(part))}. It grows, by an exponent whose interval lies above 0, for "
                f"{', '.join(grow) or 'no method'}; the largest exponent is {part.value.max():.2f} "
                f"({LINEAR[part.value.idxmax()]}), the smallest {part.value.min():.2f} ({LINEAR[part.value.idxmin()]})."
            )
    left = drawn[drawn.method != "fisher"].groupby("metric").value.quantile([0.05, 0.5, 0.95]).unstack()
    relative, direction = (
        f"{row[0.5]:.2f} ({row[0.05]:.2f} to {row[0.95]:.2f})"
        for row in (left.loc["relative_error"], left.loc["direction_error"])
    )
    lines.append(
        f"- How much of it is scale: over all methods, sizes and draws the median relative error is {relative}, the "
        f"median direction error {direction}; in brackets the range of nine in ten."
    )
    timed = timed.assign(key=keys(timed))
    wide = timed.pivot_table(index=["points", "parameters"], columns=["key", "metric"], values="value")
    better = wide["lissa-10", "relative_error"] < wide["lissa-1", "relative_error"]
    least, most = (wide["lissa-10", "relative_error"].agg(each) for each in ("min", "max"))
    lines.append(
        f"- *More iterations of LiSSA reduce the error*: {_verdict(better.sum(), len(better))}. After ten, "
        f"a relative error of {least:.2f} to {most:.2f} is left in the three settings."
    )
    approximations = [key for key in LINEAR if key not in ("dense", "exact", "fisher")]
    ratios = pd.concat([wide["exact", "seconds"] / wide[key, "seconds"] for key in approximations])
    ratio = wide["exact", "seconds"] / wide["lissa-10", "seconds"]
    gain = (wide["dense", "seconds"] / wide["exact", "seconds"]).round(-2)
    lines.append(
        "- *The exact influence takes far longer than its approximations*: "
        f"{_verdict((ratios > 2).sum(), len(ratios))} once the structure of the Hessian is used. The exact scores take "
        f"{ratios.min():.2f} to {ratios.max():.2f} times as long as an approximation (far longer: more than twice), "
        f"{ratio.min():.2f} to {ratio.max():.2f} times as long as ten iterations of LiSSA. They are "
        f"{gain.min():,.0f} to {gain.max():,.0f} times as fast as the dense way."
    )
    return Prose("\n".join(lines))


def iterations(frame: pd.DataFrame) -> Prose:
    """Whether more iterations of LiSSA improve accuracy, data set by data set, as Figure 4 has it."""
    wide = frame[frame.metric == "accuracy"].groupby(["dataset", "method", "iterations"], sort=False).value.mean() * 100
    lines = []
    for dataset in wide.index.unique("dataset"):
        lissa, limit = wide[dataset, "lissa"], wide.get((dataset, "exact", -1))
        repsim, released = wide.get((dataset, "repsim", -1)), wide[dataset, "lissa_released"]
        change = lissa[10] - lissa[1]
        expected = "improves" if dataset.startswith(("mixed", "harmful")) else "does not improve"
        found = "improves" if round(change, 1) > 0 else "does not improve"
        line = (
            f"- {DATASETS[dataset]}: from 1 to 10 iterations accuracy goes from {lissa[1]:.1f} to {lissa[10]:.1f} %; "
            f"it {found}, and in the paper it {expected}."
        )
        if limit is not None:
            line += f" At the limit, Exact, it is {limit:.1f} %"
            line += "." if repsim is None else f", RepSim {repsim:.1f} %."
        line += (
            f" The released code's recursion gives {released[10]:.1f} % after 10, and {released[0]:.1f} % after none, "
            "where it is GradSim."
        )
        lines.append(line)
    return Prose("\n".join(lines))


def truth(run: Run, agreement: pd.DataFrame) -> Prose:
    """What damping, weight decay and stopping early do to the agreement, in numbers."""
    decay = run.profile.linear.decay
    pearson = agreement[agreement.metric == "pearson"].set_index(["method", "decay", "damping", "steps"]).value
    slope = agreement[agreement.metric == "slope"].set_index(["method", "decay", "damping", "steps"]).value
    at_minimum = pearson["exact", decay, 1.0, 0]
    more, less = approximation.DAMPINGS[-1], approximation.DAMPINGS[0]
    lightest = min(pearson.index.unique("decay"))
    stopped = pearson.xs((decay, 1.0), level=("decay", "damping"))
    stopped = stopped[stopped.index.get_level_values("steps") > 0].unstack("method")
    first = stopped.index.min()
    held = pearson["exact", lightest, 1.0, 0] < at_minimum
    why = " A single point matters more to a model that is held back less, and the formula is of first order."
    best, name = stopped.loc[first].max(), _ABOUT[stopped.loc[first].idxmax()]
    lines = [
        f"- **At the minimum** the exact influence predicts retraining with a correlation of {at_minimum:.4f} and a "
        f"slope of {slope['exact', decay, 1.0, 0]:.2f}. DataInf reaches {pearson['datainf', decay, 1.0, 0]:.3f}, "
        f"LiSSA {pearson['lissa', decay, 1.0, 0]:.3f}, GradSim {pearson['gradsim', decay, 1.0, 0]:.3f}.",
        f"- **Damping** other than what the model was trained with: {pearson['exact', decay, less, 0]:.3f} at {less:g} "
        f"times the right one, {pearson['exact', decay, more, 0]:.3f} at {more:g} times, where the slope is "
        f"{slope['exact', decay, more, 0]:.1f}.",
        f"- **Less weight decay**, {lightest:g} in place of {decay:g}: {pearson['exact', lightest, 1.0, 0]:.3f}."
        + (why if held else ""),
        f"- **Stopped early**, after {first} steps of gradient descent, the best is {name} ({best:.3f}), and the exact "
        f"influence, which assumes a minimum, has {stopped.exact[first]:.3f}. After 10 steps LiSSA with its "
        f"10 iterations: {stopped.lissa[10]:.3f}.",
    ]
    return Prose("\n".join(lines))


def convergence_of(frame: pd.DataFrame) -> Prose:
    """Whether accuracy falls or rises along fine-tuning, data set by data set, as Figure 5 has it."""
    expected = {"mixed_small": "drops", "grammars": "drops", "mathqa": "fluctuates", "backdoor_1": "rises"}
    lines = []
    for dataset in frame.dataset.unique():
        lines.append(
            f"- {DATASETS[dataset]}, where in the paper the accuracy of influence functions {expected[dataset]}."
        )
        for metric in ("accuracy", "coverage"):
            found = convergence.trends(frame[frame.dataset == dataset], metric).set_index("method")
            parts = [
                f"{NAMES[method]} {_direction(row)}, from {row['first']:.0f} to {row['last']:.0f} % "
                f"({_slope(row.value, row.ci_low, row.ci_high)})"
                for method, row in found.iterrows()
                if method in ("datainf", "gradsim", "exact", "repsim")
            ]
            lines.append(f"  {metric.capitalize()}: {'; '.join(parts)}.")
    lines.append("")
    lines.append(
        "In brackets: the slope from the first trained checkpoint on, in points per 10 steps, with its 95 % interval "
        "over checkpoints."
    )
    lines.append("")
    if {"datainf", "gradsim"} <= set(frame.method):
        correlation, gap = convergence.agreement(frame, "datainf", "gradsim")
        lines.append(
            "- *Changes of influence functions closely follow those of gradient similarity*: from one trained "
            "checkpoint to the next the accuracies of DataInf and GradSim change with a correlation of "
            f"{correlation:.2f}, and they are {gap * 100:.1f} points apart on average."
        )
    stable = frame[frame.metric == "stability"].groupby("method", sort=False).value.agg(["mean", "min"])
    said = ", ".join(f"{NAMES[m]} {row['mean']:.2f} (lowest {row['min']:.2f})" for m, row in stable.iterrows())
    lines.append(
        f"- *Instability*: the rank correlation of a checkpoint's scores with those of the checkpoint before is, on "
        f"average, {said}."
    )
    return Prose("\n".join(lines))


def pairs(frame: pd.DataFrame) -> Prose:
    """Whether distance in parameters, or in predictions, follows behaviour over the pairs of Table 6."""
    wide = frame.pivot_table(index="dataset", columns="metric", values="value", sort=False)
    lines = []
    for metric, name in (("delta", "‖Δθ‖"), ("kl", "KL over the prompt"), ("kl_first", "KL at the first token")):
        spread = wide[metric].max() / wide[metric].min()
        line = f"- {name}: over the {len(wide)} pairs the largest is {spread:.1f} times the smallest; "
        if wide.asr.nunique() == 1:
            line += "ΔASR is the same for all of them, so there is nothing to correlate with."
        else:
            rho = stats.spearmanr(wide.asr, wide[metric]).statistic
            low, high = _permutation(wide.asr, wide[metric])
            line += (
                f"rank correlation with ΔASR {rho:.2f} (95 % of all relabellings of the pairs lie between "
                f"{low:.2f} and {high:.2f})."
            )
        lines.append(line)
    near, far = wide.loc["harmful-mixed"], wide.loc["benign-mixed"]
    lines.append(
        f"- The pair H, M, two models that both saw harmful examples, against B, M: ‖Δθ‖ {near.delta:.2f} against "
        f"{far.delta:.2f}, a ratio of {near.delta / far.delta:.2f}; KL at the first token {near.kl_first:.2f} against "
        f"{far.kl_first:.2f}, a ratio of {near.kl_first / far.kl_first:.2f}."
    )
    if wide.asr.max() < 0.5:
        lines.append(
            f"- The largest ΔASR here is {wide.asr.max() * 100:.0f} points, in the paper "
            f"{max(pair['asr'] for pair in paper()['table6'].values()):.0f}. Table 1 has the rates themselves: where "
            "the model complied before fine-tuning, the attack success rate has little left to show."
        )
    return Prose("\n".join(lines))


def drift(frame: pd.DataFrame) -> Prose:
    """Whether parameters keep moving after behaviour has settled, as Figure 6 has it."""
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        wide = part.pivot_table(index="epoch", columns="metric", values="value")
        trained = wide.loc[1:]
        best = trained.val_loss.idxmin()
        lowest = trained.val_loss.min()
        if lowest >= wide.val_loss[0]:
            lines.append(f"- {DATASETS[dataset]}: the validation loss never falls below that before fine-tuning.")
            continue
        settled = trained.index[trained.val_loss <= lowest + 0.1 * (wide.val_loss[0] - lowest)][0]
        last = wide.index.max()
        rho = stats.spearmanr(wide.index, wide.delta).statistic
        line = (
            f"- {DATASETS[dataset]}: nine tenths of the fall of the validation loss are done after epoch {settled}, "
            f"its lowest is at {best}. From epoch {settled} to {last} ‖Δθ‖ goes from {wide.delta[settled]:.2f} to "
            f"{wide.delta[last]:.2f} (rank correlation with the epoch {rho:.2f})"
        )
        known = wide.task_accuracy.dropna()
        after = known[known.index >= settled]
        if len(after) > 1:
            line += f", task accuracy from {after.iloc[0] * 100:.0f} to {after.iloc[-1] * 100:.0f} %"
        lines.append(line + ".")
    return Prose("\n".join(lines))


def linear(means: pd.DataFrame) -> Prose:
    """Whether the correlation of ‖Δθ‖ and accuracy falls with the number of parameters, as Figure 7 has it."""
    sizes = sorted(means.parameters.unique())
    lines = []
    saturated = []
    for parameters in (sizes[0], sizes[-1]):
        along = means[means.parameters == parameters].pivot_table(index="epoch", columns="metric", values="value")
        accuracy = along.test_accuracy
        near = accuracy.index[accuracy >= accuracy[0] + 0.9 * (accuracy.max() - accuracy[0])][0]
        saturated.append(
            f"with {parameters:,} parameters after epoch {near:.0f}, when ‖Δθ‖ is at {along.delta[near] * 100:.0f} % "
            "of its last"
        )
    lines.append(f"- Nine tenths of the rise in accuracy are done {'; '.join(saturated)}.")
    for metric in ("pearson", "spearman"):
        found = [means[(means.parameters == size) & (means.metric == metric)] for size in sizes]
        found = [intervals.of_seeds(each.value, each.ci_low, each.ci_high) for each in found]
        apart, lower = found[-1][2] < found[0][1], found[-1][0] < found[0][0]
        verdict = "holds here" if apart else ("holds in part" if lower else "does not hold here")
        lines.append(
            f"- *The correlation weakens as the number of parameters grows*, {metric.capitalize()}: {verdict}. From "
            f"{sizes[0]:,} to {sizes[-1]:,} parameters it is "
            + ", ".join(f"{value:.2f}{_interval(low, high)}" for value, low, high in found)
            + "."
        )
    return Prose("\n".join(lines))


def layers(frame: pd.DataFrame) -> Prose:
    """Whether the number or the place of the layers with LoRA changes what the methods find, as Figure 8 has it."""
    lines = []
    doubling, further = "doubling of the number of layers", "layer further up"
    for over, x, what in (("count", "layers", doubling), ("window", "first", further)):
        part = frame[frame.over == over]
        said = []
        for method in ("datainf", "gradsim", "exact", "repsim"):
            each = part[(part.method == method) & (part.metric == "coverage")]
            if len(each):
                size = np.log2(each[x]) if over == "count" else each[x]
                slope = (100 * number for number in intervals.of_slope(size, each.value, each.seed))
                said.append(f"{NAMES[method]} {_slope(*slope)}")
        lines.append(f"- Coverage changes, per {what}, by {', '.join(said)} points.")
    wide = frame[frame.metric == "accuracy"].groupby("method").value.agg(["min", "max"]) * 100
    said = ", ".join(f"{NAMES[method]} {row['min']:.0f} to {row['max']:.0f} %" for method, row in wide.iterrows())
    lines.append(f"- Over all of them, accuracy is {said}.")
    return Prose("\n".join(lines))


def _direction(row: pd.Series) -> str:
    """By the interval of the slope; where there is none, or it holds 0, there is no trend to speak of."""
    if row.ci_low > 0:
        return "rises"
    return "drops" if row.ci_high < 0 else "shows no clear trend"


def _slope(value: float, low: float, high: float) -> str:
    return "one checkpoint: no slope" if pd.isna(value) else f"{value:+.1f}{_interval(low, high)}"


def _interval(low: float, high: float) -> str:
    return "" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]"


def _permutation(x: pd.Series, y: pd.Series) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of the rank correlation over all orders of y."""
    found = stats.permutation_test(
        (x,), lambda order: stats.spearmanr(order, y).statistic, permutation_type="pairings", vectorized=False
    )
    return tuple(pd.Series(found.null_distribution).quantile([0.025, 0.975]))


def _verdict(holds: int, of: int) -> str:
    return "holds here" if holds == of else ("does not hold here" if holds == 0 else f"holds for {holds} of {of}")


_ABOUT = {"exact": "the exact influence", "fisher": "the empirical Fisher", "lissa": "LiSSA"} | {
    method: NAMES[method] for method in ("datainf", "gradsim")
}
