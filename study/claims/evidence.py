"""The statistics that claims are judged by: from the tables of a run's chapters to an estimate a seed.

Those of sections 1 and 3 are here, those of section 4 in `reasons`.

Each takes the tables, {name of the CSV: rows of all seeds}, and gives {alternative: {condition: estimates}}, where
estimates are a frame with a row a seed: `seed`, `value`, `ci_low`, `ci_high`. A condition is what is held against the
claim's threshold; all conditions of one alternative have to be above it. Raises Lacking where there is no estimate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from study.claims import reasons
from study.claims.estimates import (
    INFLUENCE,
    PAPERS,
    ROW,
    Evidence,
    Lacking,
    Tables,
    by_seed,
    difference,
    held,
    mean_by_seed,
    rows_learnt,
    rows_of,
    singly,
    some,
    together,
)
from study.pipeline.baselines import BASELINES


def influence_beats_controls(tables: Tables) -> Evidence:
    """An alternative for each method of influence: ahead of every control, in LDS on every data set and in removal."""
    lds, removal = rows_of(tables, "lds"), rows_of(tables, "removal")
    found = {}
    for method in (name for name in INFLUENCE if name in {*lds.method} & {*removal.method}):
        if set(lds[lds.method == method].dataset) == set(lds.dataset):
            found[method] = _ahead(lds, "lds", method, BASELINES) | _ahead_in_removal(removal, method, BASELINES)
    return some(found, "no method of influence in both tables")


def skill_harmful(tables: Tables) -> Evidence:
    return singly(_skills(tables, "table2_harmful", ("accuracy", "coverage")))


def skill_class(tables: Tables) -> Evidence:
    return singly(_skills(tables, "table3_class", ("accuracy", "coverage")))


def skill_one_trigger(tables: Tables) -> Evidence:
    return together(_skills(tables, "table4_backdoor", ("accuracy",), "backdoor_1"))


def skill_five_triggers(tables: Tables) -> Evidence:
    return together(_skills(tables, "table4_backdoor", ("accuracy",), "backdoor_5", ("repsim",)))


def fall_with_triggers(tables: Tables) -> Evidence:
    """Of each of the paper's methods, by how much farther from chance to 100 % it goes with one trigger than five."""
    one, five = (_skills(tables, "table4_backdoor", ("accuracy",), f"backdoor_{n}") for n in (1, 5))
    return together({name: difference(one[name], five[name]) for name in one if name in five})


def labels_over_controls(tables: Tables) -> Evidence:
    """An alternative for each of the paper's methods: ahead of every control in coverage."""
    frame = rows_learnt(tables, "controls")
    return some({method: _mean_ahead(frame, method, BASELINES) for method in PAPERS}, "none of the paper's methods")


def repsim_in_labels(tables: Tables) -> Evidence:
    return together(_mean_ahead(rows_learnt(tables, "controls"), "repsim", PAPERS))


def repsim_in_lds(tables: Tables) -> Evidence:
    return together(_ahead(rows_of(tables, "lds"), "lds", "repsim", PAPERS))


def repsim_in_removal(tables: Tables) -> Evidence:
    return together(_ahead_in_removal(rows_of(tables, "removal"), "repsim", PAPERS))


def exact_in_lds(tables: Tables) -> Evidence:
    return together(_ahead(rows_of(tables, "lds"), "lds", "exact", ("datainf", "lissa")))


def asr_harmful(tables: Tables) -> Evidence:
    return together({f"on {part} examples": _asr_change(tables, part) for part in ("harmful", "mixed")})


def asr_benign(tables: Tables) -> Evidence:
    return singly({"on benign examples": _asr_change(tables, "benign")})


def facts_over_controls(tables: Tables) -> Evidence:
    """An alternative for each method of influence: ahead of every control in ranking the cause above all facts of its
    place; where removal confirms the causes, without which nothing was learnt."""
    frame = rows_of(tables, "facts")
    shown = frame[frame.metric == "confirmed"].pivot_table(index="seed", columns="method", values="value")
    if shown.empty or not (shown.cause > shown.chance).all():
        raise Lacking("removal does not confirm the causes")
    hard = {method: by_seed(part) for method, part in frame[frame.metric == "hard"].groupby("method", sort=False)}
    found = {
        method: {f"over {control}": difference(hard[method], hard[control]) for control in BASELINES if control in hard}
        for method in INFLUENCE
        if method in hard
    }
    return some(found, "no method of influence")


def _skills(
    tables: Tables, name: str, metrics: Iterable[str], only: str | None = None, methods: Iterable[str] = PAPERS
) -> dict[str, pd.DataFrame]:
    """How far from chance to 100 % each method goes in each metric, mean over the data sets learnt."""
    frame = rows_learnt(tables, name)
    frame = frame if only is None else frame[frame.dataset == only]
    chance = frame[frame.method == "chance"].set_index(["seed", "dataset", "metric"]).value
    keys = pd.MultiIndex.from_frame(frame[["seed", "dataset", "metric"]])
    base = chance.reindex(keys).to_numpy()
    scaled = frame.assign(**{end: (frame[end] - base) / (1 - base) for end in ROW[1:]})
    found = {}
    for method in methods:
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


STATISTICS: dict[str, Callable[[Tables], Evidence]] = {
    each.__name__: each
    for each in (influence_beats_controls, skill_harmful, skill_class, skill_one_trigger, fall_with_triggers)
    + (labels_over_controls, repsim_in_labels, repsim_in_lds, repsim_in_removal, exact_in_lds, asr_harmful, asr_benign)
    + (skill_five_triggers, facts_over_controls)
    + reasons.STATISTICS
}
