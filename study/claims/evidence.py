"""The statistics that claims are judged by; those of section 4's claims are in `reasons`.

Each takes the tables, {name of the CSV: rows of all seeds}, and gives {alternative: {condition: estimates}}, where
estimates are a frame with a row per seed: `seed`, `value`, `ci_low`, `ci_high`. A condition is what is compared with
the claim's threshold; all conditions of one alternative have to be above it. Raises NoEstimate where there is none.
"""

from collections.abc import Callable, Iterable

import pandas as pd

from study.claims import estimates, reasons
from study.claims.estimates import PAPER_METHODS, Conditions, Evidence, Tables, all_of, any_of, get_table, learnt_rows
from study.methods import BASELINES, INFLUENCE


def influence_beats_controls(tables: Tables) -> Evidence:
    """An alternative for each influence method: ahead of every baseline, in LDS on every data set and in removal."""
    lds, removal = get_table(tables, "lds"), get_table(tables, "removal")
    evidence = {}
    for method in (name for name in INFLUENCE if name in {*lds.method} & {*removal.method}):
        if set(lds[lds.method == method].dataset) == set(lds.dataset):
            evidence[method] = _leads(lds, method, BASELINES) | _mean_leads(removal, "rise", method, BASELINES)
    if not evidence:
        raise estimates.NoEstimate("no method of influence in both tables")
    return evidence


def fall_with_triggers(tables: Tables) -> Evidence:
    """For each of the paper's methods: how much farther from chance to 100 % it gets with one trigger than five."""
    one, five = (_skills(tables, "table4_backdoor", ("accuracy",), f"backdoor_{count}") for count in (1, 5))
    return all_of({name: estimates.difference(one[name], five[name]) for name in one if name in five})


def labels_over_controls(tables: Tables) -> Evidence:
    """An alternative for each of the paper's methods: ahead of every baseline in coverage."""
    frame = learnt_rows(tables, "controls")
    return {method: _mean_leads(frame, "coverage", method, BASELINES) for method in PAPER_METHODS}


def facts_over_controls(tables: Tables) -> Evidence:
    """An alternative for each influence method: ahead of every baseline in ranking the cause above all facts of its
    place; where removal confirms the causes, without which nothing was learnt."""
    frame = get_table(tables, "facts")
    confirmed = frame[frame.metric == "confirmed"].pivot_table(index="seed", columns="method", values="value")
    if confirmed.empty or not (confirmed.cause > confirmed.chance).all():
        raise estimates.NoEstimate("removal does not confirm the causes")
    hard = {
        method: estimates.by_seed(rows) for method, rows in frame[frame.metric == "hard"].groupby("method", sort=False)
    }
    evidence = {
        method: {f"over {name}": estimates.difference(hard[method], hard[name]) for name in BASELINES if name in hard}
        for method in INFLUENCE
        if method in hard
    }
    if not any(evidence.values()):
        raise estimates.NoEstimate("no method of influence")
    return evidence


def _skills(
    tables: Tables, name: str, metrics: Iterable[str], only: str = "", methods: Iterable[str] = PAPER_METHODS
) -> Conditions:
    """How far from chance to 100 % each method gets in each metric, mean over the data sets learnt."""
    frame = learnt_rows(tables, name)
    frame = frame[frame.dataset == only] if only else frame
    chance = frame[frame.method == "chance"].set_index(["seed", "dataset", "metric"]).value
    base = chance.reindex(pd.MultiIndex.from_frame(frame[["seed", "dataset", "metric"]])).to_numpy()
    scaled = frame.assign(**{end: (frame[end] - base) / (1 - base) for end in estimates.ESTIMATE[1:]})
    parts = {
        f"{method}, {metric}": scaled[(scaled.method == method) & (scaled.metric == metric)]
        for method in methods
        for metric in metrics
    }
    return {name: estimates.mean_by_seed(rows, paired=False) for name, rows in parts.items() if len(rows)}


def _leads(lds: pd.DataFrame, method: str, others: Iterable[str]) -> Conditions:
    """By how much a method's LDS is above each of the others', data set by data set."""
    rows = estimates.rows_against(lds, "lds", method, others)
    groups = rows.groupby(["dataset", "against"], sort=False)
    return {f"over {against}, lds, {dataset}": estimates.by_seed(part) for (dataset, against), part in groups}


def _mean_leads(frame: pd.DataFrame, metric: str, method: str, others: Iterable[str]) -> Conditions:
    """By how much a method is above each of the others, mean over data sets or, of `rise`, over numbers removed."""
    removal = metric == "rise"  # whose rows are of the same examples
    groups = estimates.rows_against(frame, metric, method, others).groupby("against", sort=False)
    return {
        f"over {name}{', removal' * removal}": estimates.mean_by_seed(rows, paired=removal) for name, rows in groups
    }


def _asr_change(tables: Tables, tuned_on: str) -> pd.DataFrame:
    """Of the model that section 3 fine-tunes, the first of the table; the two rates taken as independent."""
    frame = get_table(tables, "table1_asr")
    frame = frame[frame.model == frame.model.iloc[0]]
    after, before = (estimates.by_seed(frame[frame.method == method]) for method in (tuned_on, "nothing"))
    return estimates.difference(after, before)


_METRICS = ("accuracy", "coverage")

STATISTICS: dict[str, Callable[[Tables], Evidence]] = {
    "influence_beats_controls": influence_beats_controls,
    "skill_harmful": lambda tables: any_of(_skills(tables, "table2_harmful", _METRICS)),
    "skill_class": lambda tables: any_of(_skills(tables, "table3_class", _METRICS)),
    "skill_one_trigger": lambda tables: all_of(_skills(tables, "table4_backdoor", ("accuracy",), "backdoor_1")),
    "skill_five_triggers": lambda tables: all_of(
        _skills(tables, "table4_backdoor", ("accuracy",), "backdoor_5", ("repsim",))
    ),
    "fall_with_triggers": fall_with_triggers,
    "labels_over_controls": labels_over_controls,
    "repsim_in_labels": lambda tables: all_of(
        _mean_leads(learnt_rows(tables, "controls"), "coverage", "repsim", PAPER_METHODS)
    ),
    "repsim_in_lds": lambda tables: all_of(_leads(get_table(tables, "lds"), "repsim", PAPER_METHODS)),
    "repsim_in_removal": lambda tables: all_of(
        _mean_leads(get_table(tables, "removal"), "rise", "repsim", PAPER_METHODS)
    ),
    "exact_in_lds": lambda tables: all_of(_leads(get_table(tables, "lds"), "exact", ("datainf", "lissa"))),
    "asr_harmful": lambda tables: all_of(
        {f"on {part} examples": _asr_change(tables, part) for part in ("harmful", "mixed")}
    ),
    "asr_benign": lambda tables: any_of({"on benign examples": _asr_change(tables, "benign")}),
    "facts_over_controls": facts_over_controls,
} | reasons.STATISTICS
