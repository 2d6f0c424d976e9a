"""The statistics that claims are judged by; those of section 4's claims are in `reasons`.

Each takes the tables, {name of the CSV: rows of all seeds}, and gives {alternative: {condition: estimates}}, where
estimates are a frame with a row per seed: `seed`, `value`, `ci_low`, `ci_high`. A condition is what is compared with
the claim's threshold; all conditions of one alternative have to be above it. Raises NoEstimate where there is none.
"""

from collections.abc import Callable, Iterable
from functools import partial

import pandas as pd

from study.claims import estimates, reasons
from study.claims.estimates import PAPER_METHODS, Conditions, Evidence, Tables, all_of, any_of, difference, get_table
from study.methods import BASELINES, INFLUENCE


def influence_beats_controls(tables: Tables) -> Evidence:
    """An alternative for each influence method: ahead of every baseline, in LDS on every data set and in removal."""
    lds, removal = get_table(tables, "lds"), get_table(tables, "removal")
    everywhere = lds.groupby("method").dataset.nunique() == lds.dataset.nunique()
    methods = [name for name in INFLUENCE if everywhere.get(name) and name in set(removal.method)]
    if not methods:
        raise estimates.NoEstimate("no method of influence in both tables")
    return {name: _leads(tables, "lds", name, BASELINES) | _leads(tables, "rise", name, BASELINES) for name in methods}


def fall_with_triggers(tables: Tables) -> Evidence:
    """For each of the paper's methods: how much farther from chance to 100 % it gets with one trigger than five."""
    one, five = (_skills(tables, "table4_backdoor", f"backdoor_{count}") for count in (1, 5))
    return all_of({name: difference(one[name], five[name]) for name in one if name in five})


def labels_over_controls(tables: Tables) -> Evidence:
    """An alternative for each of the paper's methods: ahead of every baseline in coverage."""
    return {method: _leads(tables, "coverage", method, BASELINES) for method in PAPER_METHODS}


def facts_over_controls(tables: Tables) -> Evidence:
    """An alternative for each influence method: ahead of every baseline in ranking the cause above all facts of its
    place; where removal confirms the causes, without which nothing was learnt."""
    frame = get_table(tables, "facts")
    confirmed = frame[frame.metric == "confirmed"].pivot_table(index="seed", columns="method", values="value")
    if confirmed.empty or not (confirmed.cause > confirmed.chance).all():
        raise estimates.NoEstimate("removal does not confirm the causes")
    hard = estimates.by_group(frame[frame.metric == "hard"], ["method"], "{}")
    evidence = {
        method: {f"over {name}": difference(hard[method], hard[name]) for name in BASELINES if name in hard}
        for method in INFLUENCE
        if method in hard
    }
    if not any(evidence.values()):
        raise estimates.NoEstimate("no method of influence")
    return evidence


def _skills(tables: Tables, name: str, only: str = "", methods=PAPER_METHODS, metrics=("accuracy",)) -> Conditions:
    """How far from chance to 100 % each method gets in each metric, mean over the data sets learnt."""
    frame = estimates.learnt_rows(tables, name)
    frame = frame[frame.dataset == only] if only else frame
    chance = frame[frame.method == "chance"].set_index(["seed", "dataset", "metric"]).value
    base = chance.reindex(pd.MultiIndex.from_frame(frame[["seed", "dataset", "metric"]])).to_numpy()
    scaled = frame.assign(**{end: (frame[end] - base) / (1 - base) for end in estimates.ESTIMATE[1:]})
    skills = estimates.by_group(scaled, ["method", "metric"], "{}, {}", partial(estimates.mean_by_seed, paired=False))
    names = [f"{method}, {metric}" for method in methods for metric in metrics]
    return {name: skills[name] for name in names if name in skills}


def _leads(tables: Tables, metric: str, method: str, others: Iterable[str] = PAPER_METHODS) -> Conditions:
    """By how much a method is above each of the others: in `lds` data set by data set, in `coverage` on average over
    the data sets learnt, in `rise` on average over the numbers removed, whose rows are of the same examples."""
    name = {"lds": "lds", "coverage": "controls", "rise": "removal"}[metric]
    frame = estimates.learnt_rows(tables, name) if metric == "coverage" else get_table(tables, name)
    rows = estimates.rows_against(frame, metric, method, others)
    if metric == "lds":
        return estimates.by_group(rows, ["against", "dataset"], "over {}, lds, {}")
    mean = partial(estimates.mean_by_seed, paired=metric == "rise")
    return estimates.by_group(rows, ["against"], "over {}, removal" if metric == "rise" else "over {}", mean)


def _asr_changes(tables: Tables, *tuned_on: str) -> Conditions:
    """Of the model that section 3 fine-tunes, the first of the table; the two rates taken as independent."""
    frame = get_table(tables, "table1_asr")
    frame = frame[frame.model == frame.model.iloc[0]]
    rates = {method: estimates.by_seed(frame[frame.method == method]) for method in (*tuned_on, "nothing")}
    return {f"on {part} examples": difference(rates[part], rates["nothing"]) for part in tuned_on}


STATISTICS: dict[str, Callable[[Tables], Evidence]] = {
    "influence_beats_controls": influence_beats_controls,
    "skill_harmful": lambda tables: any_of(_skills(tables, "table2_harmful", metrics=("accuracy", "coverage"))),
    "skill_class": lambda tables: any_of(_skills(tables, "table3_class", metrics=("accuracy", "coverage"))),
    "skill_one_trigger": lambda tables: all_of(_skills(tables, "table4_backdoor", "backdoor_1")),
    "skill_five_triggers": lambda tables: all_of(_skills(tables, "table4_backdoor", "backdoor_5", ["repsim"])),
    "fall_with_triggers": fall_with_triggers,
    "labels_over_controls": labels_over_controls,
    "repsim_in_labels": lambda tables: all_of(_leads(tables, "coverage", "repsim")),
    "repsim_in_lds": lambda tables: all_of(_leads(tables, "lds", "repsim")),
    "repsim_in_removal": lambda tables: all_of(_leads(tables, "rise", "repsim")),
    "exact_in_lds": lambda tables: all_of(_leads(tables, "lds", "exact", ("datainf", "lissa"))),
    "asr_harmful": lambda tables: all_of(_asr_changes(tables, "harmful", "mixed")),
    "asr_benign": lambda tables: any_of(_asr_changes(tables, "benign")),
    "facts_over_controls": facts_over_controls,
} | reasons.STATISTICS
