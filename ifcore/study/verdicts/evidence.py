"""The statistics that claims are judged by: from the tables of a run's chapters to an estimate a seed.

Each takes the tables, {name of the CSV: rows of all seeds}, and gives {alternative: {condition: estimates}}, where
estimates are a frame with a row a seed: `seed`, `value`, `ci_low`, `ci_high`. A condition is what is held against the
claim's threshold; all conditions of one alternative have to be above it. Raises Lacking where there is no estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pandas as pd

from ifcore.study.correlation import spearman
from ifcore.study.runs.controls import CONTROLS
from ifcore.study.runs.further import FURTHER
from ifcore.study.verdicts.estimates import (
    ROW,
    Lacking,
    Tables,
    by_seed,
    difference,
    held,
    log10,
    mean_by_seed,
    rows_learnt,
    rows_of,
)

PAPERS = ("datainf", "lissa", "gradsim")
INFLUENCE = (*PAPERS, "exact", *FURTHER)
ITSELF = "nothing"  # against nothing: a method's own value, not a difference

Evidence = dict[str, dict[str, pd.DataFrame]]


def influence_beats_controls(tables: Tables) -> Evidence:
    """An alternative for each method of influence: ahead of every control, in LDS on every data set and in removal."""
    lds, removal = rows_of(tables, "lds"), rows_of(tables, "removal")
    found = {}
    for method in (name for name in INFLUENCE if name in {*lds.method} & {*removal.method}):
        if set(lds[lds.method == method].dataset) == set(lds.dataset):
            found[method] = _ahead(lds, "lds", method, CONTROLS) | _ahead_in_removal(removal, method, CONTROLS)
    return _some(found, "no method of influence in both tables")


def skill_harmful(tables: Tables) -> Evidence:
    return _each(_skills(tables, "table2_harmful", ("accuracy", "coverage")))


def skill_class(tables: Tables) -> Evidence:
    return _each(_skills(tables, "table3_class", ("accuracy", "coverage")))


def skill_one_trigger(tables: Tables) -> Evidence:
    return _together(_skills(tables, "table4_backdoor", ("accuracy",), "backdoor_1"))


def fall_with_triggers(tables: Tables) -> Evidence:
    """Of each of the paper's methods, by how much farther from chance to 100 % it goes with one trigger than five."""
    one, five = (_skills(tables, "table4_backdoor", ("accuracy",), f"backdoor_{n}") for n in (1, 5))
    return _together({name: difference(one[name], five[name]) for name in one if name in five})


def labels_over_controls(tables: Tables) -> Evidence:
    """An alternative for each of the paper's methods: ahead of every control in coverage."""
    frame = rows_learnt(tables, "controls")
    return _some({method: _mean_ahead(frame, method, CONTROLS) for method in PAPERS}, "none of the paper's methods")


def repsim_in_labels(tables: Tables) -> Evidence:
    return _together(_mean_ahead(rows_learnt(tables, "controls"), "repsim", PAPERS))


def repsim_in_lds(tables: Tables) -> Evidence:
    return _together(_ahead(rows_of(tables, "lds"), "lds", "repsim", PAPERS))


def repsim_in_removal(tables: Tables) -> Evidence:
    return _together(_ahead_in_removal(rows_of(tables, "removal"), "repsim", PAPERS))


def exact_in_lds(tables: Tables) -> Evidence:
    return _together(_ahead(rows_of(tables, "lds"), "lds", "exact", ("datainf", "lissa")))


def asr_harmful(tables: Tables) -> Evidence:
    return _together({f"on {part} examples": _asr_change(tables, part) for part in ("harmful", "mixed")})


def asr_benign(tables: Tables) -> Evidence:
    return _each({"on benign examples": _asr_change(tables, "benign")})


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
    return _together(found)


def lissa_where_it_helps(tables: Tables) -> Evidence:
    return _together(_lissa_gains(tables, ("mixed_small", "mixed_large", "harmfulcheck")))


def lissa_where_it_does_not(tables: Tables) -> Evidence:
    return _each(_lissa_gains(tables, ("grammars", "grammars_rule", "mathqa")))


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
    return _together(found)


def convergence_backdoor(tables: Tables) -> Evidence:
    return _together(_to_last(tables, ("backdoor_1",)))


def convergence_elsewhere(tables: Tables) -> Evidence:
    return _each(_to_last(tables, ("mixed_small", "grammars", "grammars_rule")))


def delta_against_asr(tables: Tables) -> Evidence:
    """Spearman's correlation of ‖Δθ‖ and |ΔASR| over the pairs of models, in seeds where some differ by 0.5 or more."""
    frame, found = rows_of(tables, "table6_delta"), []
    for seed, part in frame.groupby("seed"):
        wide = part.pivot_table(index="dataset", columns="metric", values="value")
        if wide.asr.max() >= 0.5 and wide.delta.nunique() > 1:
            found.append((seed, float(spearman(wide.delta.to_numpy(), wide.asr.to_numpy())), np.nan, np.nan))
    if not found:
        raise Lacking("no two models differ enough in behaviour")
    return _each({"‖Δθ‖": pd.DataFrame(found, columns=ROW)})


def correlation_with_size(tables: Tables) -> Evidence:
    frame = rows_of(tables, "fig7_linear")
    return _each({f"{name} correlation": by_seed(frame[frame.metric == f"{m}_change"]) for m, name in _KINDS.items()})


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
    return _together(found)


def facts_over_controls(tables: Tables) -> Evidence:
    """An alternative for each method of influence: ahead of every control in ranking the cause above all facts of its
    place; where removal confirms the causes, without which nothing was learnt."""
    frame = rows_of(tables, "facts")
    shown = frame[frame.metric == "confirmed"].pivot_table(index="seed", columns="method", values="value")
    if shown.empty or not (shown.cause > shown.chance).all():
        raise Lacking("removal does not confirm the causes")
    hard = {method: by_seed(part) for method, part in frame[frame.metric == "hard"].groupby("method", sort=False)}
    found = {
        method: {f"over {control}": difference(hard[method], hard[control]) for control in CONTROLS if control in hard}
        for method in INFLUENCE
        if method in hard
    }
    return _some(found, "no method of influence")


def _skills(tables: Tables, name: str, metrics: Iterable[str], only: str | None = None) -> dict[str, pd.DataFrame]:
    """How far from chance to 100 % each of the paper's methods goes in each metric, mean over the data sets learnt."""
    frame = rows_learnt(tables, name)
    frame = frame if only is None else frame[frame.dataset == only]
    chance = frame[frame.method == "chance"].set_index(["seed", "dataset", "metric"]).value
    keys = pd.MultiIndex.from_frame(frame[["seed", "dataset", "metric"]])
    base = chance.reindex(keys).to_numpy()
    scaled = frame.assign(**{end: (frame[end] - base) / (1 - base) for end in ROW[1:]})
    found = {}
    for method in PAPERS:
        for metric in metrics:
            part = scaled[(scaled.method == method) & (scaled.metric == metric)]
            if len(part):
                found[f"{method}, {metric}"] = mean_by_seed(part, paired=False)
    return found


def _ahead(frame: pd.DataFrame, metric: str, method: str, others: Iterable[str]) -> dict[str, pd.DataFrame]:
    """A condition for each data set and each of the others that the method is held against."""
    part = held(frame, metric, method, others)
    return {
        f"over {against}, {metric}, {dataset}": by_seed(each)
        for (dataset, against), each in part.groupby(["dataset", "against"], sort=False)
    }


def _ahead_in_removal(frame: pd.DataFrame, method: str, others: Iterable[str]) -> dict[str, pd.DataFrame]:
    part = held(frame, "rise", method, others)
    means = ((name, mean_by_seed(each, paired=True)) for name, each in part.groupby("against", sort=False))
    return {f"over {name}, removal": each for name, each in means}


def _mean_ahead(frame: pd.DataFrame, method: str, others: Iterable[str]) -> dict[str, pd.DataFrame]:
    """In coverage, a condition for each of the others: mean over data sets."""
    part = held(frame, "coverage", method, others)
    means = ((name, mean_by_seed(each, paired=False)) for name, each in part.groupby("against", sort=False))
    return {f"over {name}": each for name, each in means}


def _asr_change(tables: Tables, tuned_on: str) -> pd.DataFrame:
    """Of the model that section 3 fine-tunes, the first of the table; the two rates taken as independent."""
    frame = rows_of(tables, "table1_asr")
    frame = frame[frame.model == frame.model.iloc[0]]
    after, before = (by_seed(frame[frame.method == method]) for method in (tuned_on, "nothing"))
    return difference(after, before)


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
    return _together(found)


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


def _together(conditions: dict[str, pd.DataFrame]) -> Evidence:
    """One alternative: all conditions have to hold."""
    return _some({"": conditions}, "no such rows")


def _each(conditions: dict[str, pd.DataFrame]) -> Evidence:
    """Each condition by itself is enough."""
    if not conditions:
        raise Lacking("no such rows")
    return {name: {"": each} for name, each in conditions.items()}


def _some(found: Evidence, otherwise: str) -> Evidence:
    found = {name: conditions for name, conditions in found.items() if conditions}
    if not found:
        raise Lacking(otherwise)
    return found


STATISTICS: dict[str, Callable[[Tables], Evidence]] = {
    each.__name__: each
    for each in (influence_beats_controls, skill_harmful, skill_class, skill_one_trigger, fall_with_triggers)
    + (labels_over_controls, repsim_in_labels, repsim_in_lds, repsim_in_removal, exact_in_lds, asr_harmful, asr_benign)
    + (error_over_points, error_over_parameters, lissa_error, lissa_where_it_helps, lissa_where_it_does_not)
    + (exact_seconds, convergence_backdoor, convergence_elsewhere, delta_against_asr, correlation_with_size)
    + (layers_gain, facts_over_controls)
}
