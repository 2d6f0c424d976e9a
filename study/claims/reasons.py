"""The statistics of section 4's claims, on why influence functions fail; as in `evidence`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from study.claims.estimates import (
    INFLUENCE,
    PAPERS,
    ROW,
    Evidence,
    Lacking,
    Tables,
    by_seed,
    difference,
    log10,
    mean_by_seed,
    rows_learnt,
    rows_of,
    singly,
    together,
)
from study.correlation import spearman


def error_over_points(tables: Tables) -> Evidence:
    return _growth(tables, "points")


def error_over_parameters(tables: Tables) -> Evidence:
    return _growth(tables, "parameters")


def lissa_error(tables: Tables) -> Evidence:
    """By which factor (base-10 logarithm) the relative error is larger after 1 iteration than after 10, by size."""
    frame = rows_of(tables, "fig3_error")
    frame = frame[(frame.method == "lissa") & (frame.metric == "relative_error")]
    found = {}
    for (over, points, parameters), part in frame.groupby(["over", "points", "parameters"], sort=False):
        size = points if over == "points" else parameters
        one, ten = (log10(part[part.iterations == count]) for count in (1, 10))
        found[f"{size:,} {over}"] = difference(one, ten)
    return together(found)


def lissa_where_it_helps(tables: Tables) -> Evidence:
    return together(_lissa_gains(tables, ("mixed_small", "mixed_large", "harmfulcheck")))


def lissa_where_it_does_not(tables: Tables) -> Evidence:
    return singly(_lissa_gains(tables, ("grammars", "grammars_rule", "mathqa")))


def exact_seconds(tables: Tables) -> Evidence:
    """How many times as long (base-10 logarithm) the exact influence takes as each approximation in each setting."""
    frame = rows_of(tables, "table5_runtime")
    frame = frame[frame.metric == "seconds"].assign(ci_low=np.nan, ci_high=np.nan)
    found = {}
    for (points, parameters), part in frame.groupby(["points", "parameters"], sort=False):
        exact = log10(part[part.method == "exact"])
        for (method, count), each in part[part.method.isin(PAPERS)].groupby(["method", "iterations"], sort=False):
            name = f"{method} {count}" if method == "lissa" else method
            found[f"{name}, {points} points, {parameters:,} parameters"] = difference(exact, log10(each))
    return together(found)


def cost_on_model(tables: Tables) -> Evidence:
    """How many times as long (base-10 logarithm) gradients and scores take as hidden states, and as much is kept."""
    frame, found = rows_of(tables, "costs"), {}
    for metric in ("seconds", "bytes"):
        part = frame[frame.metric == metric].set_index(["seed", "dataset"])
        ours, theirs = (part[part.method == name].value for name in ("influence", "repsim"))
        ratio = np.log10(ours / theirs).dropna().groupby("seed").mean()
        found[metric] = pd.DataFrame({"seed": ratio.index, "value": ratio.array, "ci_low": np.nan, "ci_high": np.nan})
    return together(found)


def convergence_backdoor(tables: Tables) -> Evidence:
    return together(_to_last(tables, ("backdoor_1",)))


def convergence_elsewhere(tables: Tables) -> Evidence:
    return singly(_to_last(tables, ("mixed_small", "grammars", "grammars_rule")))


def gradsim_followed(tables: Tables) -> Evidence:
    """Pearson's correlation of what DataInf's and GradSim's accuracies change by from one trained checkpoint to the
    next, over all data sets."""
    frame, found = rows_of(tables, "fig5_convergence"), []
    trained = frame[(frame.metric == "accuracy") & (frame.epoch > 0)]
    for seed, part in trained.groupby("seed"):
        wide = part.pivot_table(index=["dataset", "epoch"], columns="method", values="value")
        changes = wide[["datainf", "gradsim"]].groupby("dataset").diff().dropna()
        if len(changes) > 2 and (changes.nunique() > 1).all():
            found.append((seed, changes.datainf.corr(changes.gradsim), np.nan, np.nan))
    if not found:
        raise Lacking("the accuracies do not change")
    return together({"DataInf and GradSim": pd.DataFrame(found, columns=ROW)})


def delta_after_settling(tables: Tables) -> Evidence:
    """How many times as large (base-10 logarithm) ‖Δθ‖ is at the last epoch as when nine tenths of the fall of the dev
    loss were done, mean over the data sets in which that was before the last epoch."""
    frame, found = rows_of(tables, "fig6_drift"), []
    for (seed, _), part in frame.groupby(["seed", "dataset"]):
        wide = part.pivot_table(index="epoch", columns="metric", values="value")
        if "dev_loss" not in wide:
            continue
        lowest = wide.dev_loss.min()
        settled = wide.index[wide.dev_loss <= lowest + 0.1 * (wide.dev_loss[0] - lowest)][0]
        if 0 < settled < wide.index.max():
            found.append((seed, np.log10(wide.delta.iloc[-1] / wide.delta[settled]), np.nan, np.nan))
    if not found:
        raise Lacking("the dev loss did not settle before the last epoch")
    return together({"‖Δθ‖": mean_by_seed(pd.DataFrame(found, columns=ROW), paired=False)})


def delta_against_asr(tables: Tables) -> Evidence:
    """Spearman's correlation of ‖Δθ‖ and |ΔASR| over the pairs of models, in seeds where some differ by 0.5 or more."""
    frame, found = rows_of(tables, "table6_delta"), []
    for seed, part in frame.groupby("seed"):
        wide = part.pivot_table(index="dataset", columns="metric", values="value")
        if wide.asr.max() >= 0.5 and wide.delta.nunique() > 1:
            found.append((seed, float(spearman(wide.delta.to_numpy(), wide.asr.to_numpy())), np.nan, np.nan))
    if not found:
        raise Lacking("no two models differ enough in behaviour")
    return singly({"‖Δθ‖": pd.DataFrame(found, columns=ROW)})


def correlation_with_size(tables: Tables) -> Evidence:
    frame = rows_of(tables, "fig7_linear")
    return singly({f"{name} correlation": by_seed(frame[frame.metric == f"{m}_change"]) for m, name in _KINDS.items()})


_KINDS = {"pearson": "linear", "spearman": "rank"}


def layers_gain(tables: Tables) -> Evidence:
    """Mean gain in coverage of the influence methods for each choice of layers whose dev loss fell half as far or more
    as with LoRA on all of them."""
    frame = rows_of(tables, "fig8_layers")
    losses = frame.pivot_table(index=["seed", "over", "layers", "first"], columns="metric", values="value")
    if not {"dev_loss", "dev_loss_before"} <= set(losses):
        raise Lacking("no dev loss to tell what was learnt")
    fall = (losses.dev_loss_before - losses.dev_loss).rename("fall").reset_index()
    whole = fall[fall.layers == fall.layers.max()].groupby("seed").fall.first()
    fall = fall[(fall.fall >= 0.5 * fall.seed.map(whole)) & (fall.seed.map(whole) > 0)]
    part = frame[(frame.metric == "coverage_gain") & frame.method.isin(INFLUENCE)].merge(fall)
    found = {}
    for (over, count, first), each in part.groupby(["over", "layers", "first"], sort=False):
        name = f"last {count} layers" if over == "count" else f"layers {first} to {first + count - 1}"
        found[name] = mean_by_seed(each, paired=True)
    return together(found)


def _growth(tables: Tables, over: str) -> Evidence:
    """The exponent with which each approximation's absolute error grows from the smallest size to the largest."""
    frame = rows_of(tables, "fig3_error")
    frame = frame[(frame.over == over) & (frame.metric == "error") & frame.method.isin(PAPERS)]
    least, most = frame[over].min(), frame[over].max()
    if not least < most:
        raise Lacking(f"one number of {over} only")
    found = {}
    for (method, count), part in frame.groupby(["method", "iterations"], sort=False):
        rise = difference(log10(part[part[over] == most]), log10(part[part[over] == least]))
        rise[ROW[1:]] /= np.log10(most / least)
        found[f"{method} {count}" if method == "lissa" else method] = rise
    return together(found)


def _lissa_gains(tables: Tables, datasets: Iterable[str]) -> dict[str, pd.DataFrame]:
    frame = rows_learnt(tables, "fig4_lissa")
    frame = frame[(frame.metric == "accuracy_gain") & (frame.method == "lissa") & frame.dataset.isin(list(datasets))]
    return {dataset: by_seed(part) for dataset, part in frame.groupby("dataset", sort=False)}


def _to_last(tables: Tables, datasets: Iterable[str]) -> dict[str, pd.DataFrame]:
    """What accuracy is more at the last checkpoint than at the first trained one, for DataInf and GradSim."""
    frame = rows_learnt(tables, "fig5_convergence")
    frame = frame[(frame.metric == "accuracy_to_last") & (frame.epoch == 1) & frame.dataset.isin(list(datasets))]
    frame = frame[frame.method.isin(["datainf", "gradsim"])]
    return {f"{m}, {dataset}": by_seed(part) for (dataset, m), part in frame.groupby(["dataset", "method"], sort=False)}


STATISTICS = (error_over_points, error_over_parameters, lissa_error, lissa_where_it_helps, lissa_where_it_does_not)
STATISTICS += (exact_seconds, cost_on_model, convergence_backdoor, convergence_elsewhere, gradsim_followed)
STATISTICS += (delta_after_settling, delta_against_asr, correlation_with_size, layers_gain)
