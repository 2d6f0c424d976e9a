"""The statistics that claims are judged by; those of section 4's claims are in `reasons`.

Each takes the tables, {name of the CSV: rows of all seeds}, and gives {alternative: {condition: estimates}}, where
estimates are a frame with a row per seed: `seed`, `value`, `ci_low`, `ci_high`. A condition is what is compared with
the claim's threshold; all conditions of one alternative have to be above it. Raises NoEstimate where there is none.
"""

from collections.abc import Callable, Iterable

import pandas as pd

from ifcore.judge import CEILING
from study.claims import estimates, reasons
from study.claims.claims import named_method
from study.claims.estimates import PAPER_METHODS, Conditions, Evidence, Tables, all_of, any_of, difference, get_table
from study.methods import BASELINES, INFLUENCE, NAMES, OF_TEXTS, ORACLE
from study.pooling import pool
from study.report.names import DATASETS
from study.schema import ITSELF

LEAST_CEILING = 0.8  # of a cell that decides
MIXTURES, CLASSES = (
    ("mixed_small", "mixed_large", "mixed_hard"),
    ("grammars", "grammars_rule", "mathqa", "harmfulcheck"),
)


def repsim_in_labels(tables: Tables) -> Evidence:
    """How far RepSim's coverage is ahead of that of each of the paper's methods, mean over the data sets learnt."""
    rows = estimates.rows_against(estimates.learnt_rows(tables, "controls"), "coverage", "repsim", PAPER_METHODS)
    return all_of(estimates.by_group(rows, ["against"], "over {}", _mean))


def influence_in_lds(tables: Tables) -> Evidence:
    """How far the named method is ahead of RepSim, before fine-tuning and after, in every cell that decides."""
    rows = estimates.rows_against(_deciding(tables), "lds", named_method(), ("repsim", "repsim_before"))
    return all_of(estimates.by_group(rows, ["against", "dataset"], "over {}, {}"))


def repsim_in_lds(tables: Tables) -> Evidence:
    """RepSim's own linear datamodeling score in every cell that decides."""
    rows = estimates.rows_against(_deciding(tables), "lds", "repsim", [ITSELF])
    return all_of(estimates.by_group(rows, ["dataset"], "{}"))


def influence_in_removal(tables: Tables) -> Evidence:
    """How much farther the loss rises without the named method's choice than without RepSim's, or one at random of the
    class."""
    rows = estimates.rows_against(get_table(tables, "removal"), "rise", named_method(), ("repsim", ORACLE))
    return all_of(estimates.by_group(rows, ["against"], "over {}"))


def influence_over_texts(tables: Tables) -> Evidence:
    """How far the named method is ahead of each baseline that reads the texts alone, mean over those cells."""
    rows = estimates.rows_against(_deciding(tables), "lds", named_method(), OF_TEXTS)
    return all_of(estimates.by_group(rows, ["against"], "over {}", _mean))


def leads_in_area(tables: Tables, datasets: Iterable[str], metric: str = "auc") -> Conditions:
    """For each of the paper's methods: how far its area under the curve is ahead of the best baseline's of each data
    set learnt, by that seed's areas; the mean over them."""
    frame = estimates.learnt_rows(tables, "controls")
    frame = frame[frame.dataset.isin(list(datasets)) & (frame.metric == metric)]
    ahead = {method: estimates.over_best(frame, method) for method in PAPER_METHODS}
    return {method: _mean(rows) for method, rows in ahead.items() if len(rows)}


def triggers(tables: Tables, methods: Iterable[str]) -> Conditions:
    """How far the area under the curve falls from one trigger to five, triggered prompts alone."""
    frame = estimates.learnt_rows(tables, "controls")
    frame = frame[(frame.metric == "auc_triggered") & (frame.against == ITSELF) & frame.method.isin(list(methods))]
    one, five = (estimates.by_group(frame[frame.dataset == f"backdoor_{count}"], ["method"], "{}") for count in (1, 5))
    if not (one and five):
        raise estimates.NoEstimate("one and five triggers were not both learnt")
    return {method: difference(one[method], five[method]) for method in one if method in five}


def repsim_with_triggers(tables: Tables) -> Evidence:
    """How much less RepSim's area falls from one trigger to five than that of each of the paper's methods."""
    falls = triggers(tables, ("repsim", *PAPER_METHODS))
    if absent := [name for name in ("repsim", *PAPER_METHODS) if name not in falls]:
        raise estimates.NoEstimate(f"no area of {NAMES[absent[0]]}")
    return all_of({f"beside {name}": difference(falls[name], falls["repsim"]) for name in PAPER_METHODS})


def exact_in_lds(tables: Tables) -> Evidence:
    """How far Exact is ahead of LiSSA and DataInf in the linear datamodeling score, each at the damping that is best on
    other halves; mean over the cells that decide."""
    rows = estimates.rows_against(_deciding(tables, "lds_tuned"), "lds_tuned", "exact", ("datainf", "lissa"))
    return all_of(estimates.by_group(rows, ["against"], "over {}", _mean))


def lissa_in_lds(tables: Tables) -> Evidence:
    """How much higher LiSSA's linear datamodeling score is after ten iterations than after one."""
    rows = estimates.rows_against(_deciding(tables), "lds", "lissa", ["lissa_once"])
    return all_of({"after ten": _mean(rows)})


def facts_over_baselines(tables: Tables) -> Evidence:
    """An alternative for each influence method: how far it is ahead of the best baseline in ranking the cause among the
    facts of its place; where removal confirms the causes, and no baseline is above 0.9."""
    frame = get_table(tables, "facts")
    confirmed = frame[frame.metric == "confirmed"].pivot_table(index="seed", columns="method", values="value")
    if confirmed.empty or not (confirmed.cause > confirmed.chance).all():
        raise estimates.NoEstimate("removal does not confirm the causes")
    areas = frame[frame.metric == "hard_auc"]
    if areas.empty:
        raise estimates.NoEstimate("facts.csv has no areas")
    of_baselines = areas[(areas.against == ITSELF) & areas.method.isin(BASELINES)].groupby("method").value.mean()
    if of_baselines.empty:
        raise estimates.NoEstimate("no area of a baseline")
    if of_baselines.max() > 0.9:
        raise estimates.NoEstimate("a baseline finds the causes as well")
    ahead = {method: estimates.over_best(areas, method) for method in INFLUENCE}
    return any_of({method: _mean(rows) for method, rows in ahead.items() if len(rows)})


def _deciding(tables: Tables, metric: str = "lds") -> pd.DataFrame:
    """The rows of lds.csv of the cells whose ceiling, pooled over seeds, is high enough to decide."""
    frame = get_table(tables, "lds")
    ceilings = frame[(frame.metric == "lds") & (frame.method == CEILING)]
    pooled = {name: pool(rows.value, rows.ci_low, rows.ci_high).mean for name, rows in ceilings.groupby("dataset")}
    deciding = [name for name, ceiling in pooled.items() if ceiling >= LEAST_CEILING]
    if not deciding:
        highest = max(pooled, key=lambda name: pooled[name], default=None)
        had = f"the highest is {pooled[highest]:.2f}, on {DATASETS[highest]}" if highest else "none was measured"
        raise estimates.NoEstimate(f"no cell has a ceiling of {LEAST_CEILING}: {had}")
    return frame[frame.dataset.isin(deciding) & (frame.metric == metric)]


def _mean(rows: pd.DataFrame) -> pd.DataFrame:
    return estimates.mean_by_seed(rows, paired=False)


def _asr_changes(tables: Tables, *tuned_on: str) -> Conditions:
    """Of the model that section 3 fine-tunes, the first of the table; the two rates taken as independent."""
    frame = get_table(tables, "table1_asr")
    frame = frame[frame.model == frame.model.iloc[0]]
    rates = {method: estimates.by_seed(frame[frame.method == method]) for method in (*tuned_on, "nothing")}
    return {f"on {part} examples": difference(rates[part], rates["nothing"]) for part in tuned_on}


STATISTICS: dict[str, Callable[[Tables], Evidence]] = {
    "repsim_in_labels": repsim_in_labels,
    "influence_in_lds": influence_in_lds,
    "repsim_in_lds": repsim_in_lds,
    "influence_in_removal": influence_in_removal,
    "influence_over_texts": influence_over_texts,
    "area_mixtures": lambda tables: any_of(leads_in_area(tables, MIXTURES)),
    "area_classes": lambda tables: any_of(leads_in_area(tables, CLASSES)),
    "area_all": lambda tables: any_of(leads_in_area(tables, DATASETS)),
    "area_one_trigger": lambda tables: all_of(leads_in_area(tables, ["backdoor_1"], "auc_triggered")),
    "fall_with_triggers": lambda tables: all_of(triggers(tables, PAPER_METHODS)),
    "repsim_with_triggers": repsim_with_triggers,
    "exact_in_lds": exact_in_lds,
    "lissa_in_lds": lissa_in_lds,
    "asr_harmful": lambda tables: all_of(_asr_changes(tables, "harmful", "mixed")),
    "asr_benign": lambda tables: any_of(_asr_changes(tables, "benign")),
    "facts_over_baselines": facts_over_baselines,
} | reasons.STATISTICS
