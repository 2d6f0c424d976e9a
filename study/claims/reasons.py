"""The statistics of section 4's claims, on why influence functions fail; as in `evidence`."""

from collections.abc import Callable

import pandas as pd

from study.claims import estimates
from study.claims.estimates import PAPER_METHODS, Conditions, Evidence, Tables, all_of, any_of, get_table
from study.methods import INFLUENCE

DIFFERENT = 0.5  # in attack success rate: how far apart some models must be


def gradsim_followed(tables: Tables) -> Evidence:
    """Spearman's correlation of what DataInf's and GradSim's scores change by from one trained checkpoint to the next,
    mean over validation examples, over steps and over data sets. The steps of a data set are of the same examples."""
    frame = get_table(tables, "fig5_convergence")
    rows = frame[(frame.metric == "followed") & frame.value.notna()]
    by_dataset = [estimates.mean_by_seed(part, paired=True) for _, part in rows.groupby("dataset", sort=False)]
    if not by_dataset:
        raise estimates.NoEstimate("no data set has two trained checkpoints")
    return all_of({"DataInf and GradSim": estimates.mean_by_seed(pd.concat(by_dataset), paired=False)})


def delta_after_settling(tables: Tables) -> Evidence:
    """How many times as large (base-10 logarithm) ‖Δθ‖ is at the last epoch as when task accuracy first was at 95 % of
    its last, mean over the data sets learnt in which that was before the last epoch."""
    frame = estimates.learnt_rows(tables, "fig6_drift")
    growth = frame[frame.metric == "growth"]
    if growth.empty:
        raise estimates.NoEstimate("task accuracy did not settle before the last epoch")
    return all_of({"‖Δθ‖": estimates.mean_by_seed(estimates.log10(growth), paired=False)})


def delta_against_asr(tables: Tables) -> Evidence:
    """Spearman's correlation of ‖Δθ‖ and the attack success rate over graded mixtures, in seeds in which that rate
    differs by half or more."""
    frame = get_table(tables, "graded_mixtures")
    rates = frame[frame.metric == "asr"].groupby("seed").value
    differ = rates.max() - rates.min() >= DIFFERENT
    rows = frame[(frame.metric == "spearman") & frame.value.notna() & frame.seed.map(differ)]
    if rows.empty:
        raise estimates.NoEstimate("no two models differ enough in behaviour")
    return any_of({"‖Δθ‖": estimates.by_seed(rows)})


def correlation_with_size(tables: Tables) -> Evidence:
    """By how much the rank correlation of ‖Δθ‖ and accuracy is lower in the largest two-layer model."""
    frame = get_table(tables, "fig7_linear")
    rows = estimates.by_seed(frame[frame.metric == "spearman_change"])
    return all_of({"rank correlation": estimates.negated(rows)})


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
    if fall.empty:
        raise estimates.NoEstimate("the dev loss fell with no choice of layers")
    gains = frame[(frame.metric == "coverage_gain") & frame.method.isin(INFLUENCE)].merge(fall)
    conditions = {}
    for (over, count, first), rows in gains.groupby(["over", "layers", "first"], sort=False):
        name = f"last {count} layers" if over == "count" else f"layers {first} to {first + count - 1}"
        conditions[name] = estimates.mean_by_seed(rows, paired=True)
    return any_of(conditions)


def _error_growth(tables: Tables, over: str) -> Evidence:
    """The exponent with which each approximation's direction error grows with the number of points or parameters."""
    frame = get_table(tables, "fig3_growth")
    frame = frame[(frame.over == over) & (frame.metric == "direction_error") & frame.method.isin(PAPER_METHODS)]
    names = frame.method.where(frame.method != "lissa", "lissa " + frame.iterations.astype(str))
    return all_of(estimates.by_group(frame.assign(name=names), ["name"], "{}"))


def _lissa_gains(tables: Tables, *datasets: str) -> Conditions:
    """How much higher coverage is after ten iterations of LiSSA than after one."""
    frame = estimates.learnt_rows(tables, "fig4_lissa")
    frame = frame[(frame.metric == "coverage_gain") & (frame.method == "lissa") & frame.dataset.isin(datasets)]
    return estimates.by_group(frame, ["dataset"], "{}")


def _gains_to_last(tables: Tables, *datasets: str) -> Conditions:
    """How much higher coverage is at the last checkpoint than at the first trained one, for DataInf and GradSim."""
    frame = estimates.learnt_rows(tables, "fig5_convergence")
    frame = frame[(frame.metric == "coverage_to_last") & (frame.epoch == 1) & frame.dataset.isin(datasets)]
    frame = frame[frame.method.isin(["datainf", "gradsim"])]
    return estimates.by_group(frame, ["method", "dataset"], "{}, {}")


def losses_to_last(tables: Tables) -> Evidence:
    """How much lower coverage is at the last checkpoint than at the first trained one, on Mixed and Grammars."""
    gains = _gains_to_last(tables, "mixed_small", "grammars", "grammars_rule")
    return all_of({name: estimates.negated(rows) for name, rows in gains.items()})


STATISTICS: dict[str, Callable[[Tables], Evidence]] = {
    "error_over_points": lambda tables: _error_growth(tables, "points"),
    "error_over_parameters": lambda tables: _error_growth(tables, "parameters"),
    "lissa_where_it_helps": lambda tables: all_of(_lissa_gains(tables, "mixed_small", "mixed_large", "harmfulcheck")),
    "lissa_where_it_does_not": lambda tables: any_of(_lissa_gains(tables, "grammars", "grammars_rule", "mathqa")),
    "convergence_backdoor": lambda tables: all_of(_gains_to_last(tables, "backdoor_1")),
    "convergence_elsewhere": losses_to_last,
    "gradsim_followed": gradsim_followed,
    "delta_after_settling": delta_after_settling,
    "delta_against_asr": delta_against_asr,
    "correlation_with_size": correlation_with_size,
    "layers_gain": layers_gain,
}
