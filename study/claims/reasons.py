"""The statistics of section 4's claims, on why influence functions fail; as in `evidence`."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from study.claims import estimates
from study.claims.estimates import Conditions, Evidence, Tables, all_of, any_of, difference, get_table, log10
from study.methods import INFLUENCE
from study.statistics import NAN, spearman


def lissa_error(tables: Tables) -> Evidence:
    """By which factor (base-10 logarithm) the relative error is larger after 1 iteration than after 10, by size."""
    frame = get_table(tables, "fig3_error")
    frame = frame[(frame.method == "lissa") & (frame.metric == "relative_error")]
    conditions = {}
    for (over, points, parameters), rows in frame.groupby(["over", "points", "parameters"], sort=False):
        size = points if over == "points" else parameters
        one, ten = (log10(rows[rows.iterations == count]) for count in (1, 10))
        conditions[f"{size:,} {over}"] = difference(one, ten)
    return all_of(conditions)


def exact_seconds(tables: Tables) -> Evidence:
    """How many times as long (base-10 logarithm) the exact influence takes as each approximation in each setting."""
    frame = get_table(tables, "table5_runtime")
    frame = frame[frame.metric == "seconds"].assign(ci_low=NAN, ci_high=NAN)
    conditions = {}
    for (points, parameters), setting in frame.groupby(["points", "parameters"], sort=False):
        exact = log10(setting[setting.method == "exact"])
        for name, rows in _by_approximation(setting):
            conditions[f"{name}, {points} points, {parameters:,} parameters"] = difference(exact, log10(rows))
    return all_of(conditions)


def cost_on_model(tables: Tables) -> Evidence:
    """How many times as long (base-10 logarithm) gradients and scores take as hidden states, and as much is kept."""
    frame, conditions = get_table(tables, "costs"), {}
    for metric in ("seconds", "bytes"):
        rows = frame[frame.metric == metric].set_index(["seed", "dataset"])
        influence, repsim = (rows[rows.method == name].value for name in ("influence", "repsim"))
        ratio = np.log10(influence / repsim).dropna().groupby("seed").mean()
        conditions[metric] = pd.DataFrame({"seed": ratio.index, "value": ratio.array, "ci_low": NAN, "ci_high": NAN})
    return all_of(conditions)


def gradsim_followed(tables: Tables) -> Evidence:
    """Pearson's correlation of what DataInf's and GradSim's accuracies change by from one trained checkpoint to the
    next, over all data sets."""
    frame, correlations = get_table(tables, "fig5_convergence"), []
    for seed, rows in frame[(frame.metric == "accuracy") & (frame.epoch > 0)].groupby("seed"):
        wide = rows.pivot_table(index=["dataset", "epoch"], columns="method", values="value")
        changes = wide[["datainf", "gradsim"]].groupby("dataset").diff().dropna()
        if len(changes) > 2 and (changes.nunique() > 1).all():
            correlations.append((seed, changes.datainf.corr(changes.gradsim)))
    return all_of({"DataInf and GradSim": estimates.without_intervals(correlations, "the accuracies do not change")})


def delta_after_settling(tables: Tables) -> Evidence:
    """How many times as large (base-10 logarithm) ‖Δθ‖ is at the last epoch as when nine tenths of the fall of the dev
    loss were done, mean over the data sets in which that was before the last epoch."""
    growths = []
    for (seed, _), rows in get_table(tables, "fig6_drift").groupby(["seed", "dataset"]):
        wide = rows.pivot_table(index="epoch", columns="metric", values="value")
        if "dev_loss" not in wide:
            continue
        lowest = wide.dev_loss.min()
        settled = wide.index[wide.dev_loss <= lowest + 0.1 * (wide.dev_loss[0] - lowest)][0]
        if 0 < settled < wide.index.max():
            growths.append((seed, np.log10(wide.delta.iloc[-1] / wide.delta[settled])))
    growth = estimates.without_intervals(growths, "the dev loss did not settle before the last epoch")
    return all_of({"‖Δθ‖": estimates.mean_by_seed(growth, paired=False)})


def delta_against_asr(tables: Tables) -> Evidence:
    """Spearman's correlation of ‖Δθ‖ and |ΔASR| over the pairs of models, in seeds where some differ by 0.5 or more."""
    correlations = []
    for seed, rows in get_table(tables, "table6_delta").groupby("seed"):
        wide = rows.pivot_table(index="dataset", columns="metric", values="value")
        if wide.asr.max() >= 0.5 and wide.delta.nunique() > 1:
            correlations.append((seed, float(spearman(wide.delta.to_numpy(), wide.asr.to_numpy()))))
    return any_of({"‖Δθ‖": estimates.without_intervals(correlations, "no two models differ enough in behaviour")})


def correlation_with_size(tables: Tables) -> Evidence:
    frame = get_table(tables, "fig7_linear")
    metrics = {"linear correlation": "pearson_change", "rank correlation": "spearman_change"}
    return any_of({name: estimates.by_seed(frame[frame.metric == metric]) for name, metric in metrics.items()})


def layers_gain(tables: Tables) -> Evidence:
    """Mean gain in coverage of the influence methods for each choice of layers whose dev loss fell at least half as far
    as with LoRA on all of them."""
    frame = get_table(tables, "fig8_layers")
    losses = frame.pivot_table(index=["seed", "over", "layers", "first"], columns="metric", values="value")
    if not {"dev_loss", "dev_loss_before"} <= set(losses):
        raise estimates.NoEstimate("no dev loss to tell what was learnt")
    fall = (losses.dev_loss_before - losses.dev_loss).rename("fall").reset_index()
    whole = fall[fall.layers == fall.layers.max()].groupby("seed").fall.first()
    fall = fall[(fall.fall >= 0.5 * fall.seed.map(whole)) & (fall.seed.map(whole) > 0)]
    gains = frame[(frame.metric == "coverage_gain") & frame.method.isin(INFLUENCE)].merge(fall)
    conditions = {}
    for (over, count, first), rows in gains.groupby(["over", "layers", "first"], sort=False):
        name = f"last {count} layers" if over == "count" else f"layers {first} to {first + count - 1}"
        conditions[name] = estimates.mean_by_seed(rows, paired=True)
    return any_of(conditions)


def _error_growth(tables: Tables, over: str) -> Evidence:
    """The exponent with which each approximation's absolute error grows from the smallest size to the largest."""
    frame = get_table(tables, "fig3_error")
    frame = frame[(frame.over == over) & (frame.metric == "error")]
    least, most = frame[over].min(), frame[over].max()
    if not least < most:
        raise estimates.NoEstimate(f"one number of {over} only")
    conditions = {}
    for name, rows in _by_approximation(frame):
        growth = difference(log10(rows[rows[over] == most]), log10(rows[rows[over] == least]))
        growth[estimates.ESTIMATE[1:]] /= np.log10(most / least)
        conditions[name] = growth
    return all_of(conditions)


def _by_approximation(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Rows by the paper's methods, LiSSA's by its number of iterations as well."""
    frame = frame[frame.method.isin(estimates.PAPER_METHODS)]
    for (method, count), rows in frame.groupby(["method", "iterations"], sort=False):
        yield f"{method} {count}" if method == "lissa" else method, rows


def _lissa_gains(tables: Tables, *datasets: str) -> Conditions:
    frame = estimates.learnt_rows(tables, "fig4_lissa")
    frame = frame[(frame.metric == "accuracy_gain") & (frame.method == "lissa") & frame.dataset.isin(datasets)]
    return estimates.by_group(frame, ["dataset"], "{}")


def _gains_to_last(tables: Tables, *datasets: str) -> Conditions:
    """How much higher accuracy is at the last checkpoint than at the first trained one, for DataInf and GradSim."""
    frame = estimates.learnt_rows(tables, "fig5_convergence")
    frame = frame[(frame.metric == "accuracy_to_last") & (frame.epoch == 1) & frame.dataset.isin(datasets)]
    frame = frame[frame.method.isin(["datainf", "gradsim"])]
    return estimates.by_group(frame, ["method", "dataset"], "{}, {}")


STATISTICS: dict[str, Callable[[Tables], Evidence]] = {
    "error_over_points": lambda tables: _error_growth(tables, "points"),
    "error_over_parameters": lambda tables: _error_growth(tables, "parameters"),
    "lissa_error": lissa_error,
    "lissa_where_it_helps": lambda tables: all_of(_lissa_gains(tables, "mixed_small", "mixed_large", "harmfulcheck")),
    "lissa_where_it_does_not": lambda tables: any_of(_lissa_gains(tables, "grammars", "grammars_rule", "mathqa")),
    "exact_seconds": exact_seconds,
    "cost_on_model": cost_on_model,
    "convergence_backdoor": lambda tables: all_of(_gains_to_last(tables, "backdoor_1")),
    "convergence_elsewhere": lambda tables: any_of(_gains_to_last(tables, "mixed_small", "grammars", "grammars_rule")),
    "gradsim_followed": gradsim_followed,
    "delta_after_settling": delta_after_settling,
    "delta_against_asr": delta_against_asr,
    "correlation_with_size": correlation_with_size,
    "layers_gain": layers_gain,
}
