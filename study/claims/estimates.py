"""Estimates per seed, with their intervals: read from tables, averaged, subtracted."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from study.methods import BASELINES, NAMES
from study.pooling import Pooled, half_width, pool
from study.schema import ITSELF

Tables = Mapping[str, pd.DataFrame]  # name of the CSV -> its rows, of all seeds
Conditions = dict[str, pd.DataFrame]  # condition -> estimates, a row a seed
Evidence = dict[str, Conditions]  # alternative -> its conditions, which all have to hold
ESTIMATE = ["seed", "value", "ci_low", "ci_high"]
PAPER_METHODS = ("datainf", "lissa", "gradsim")


class NoEstimate(Exception):
    """Why a statistic has no value, in a few words."""


def get_table(tables: Tables, name: str) -> pd.DataFrame:
    """The table of that name. Raises NoEstimate where there is none."""
    if name not in tables:
        raise NoEstimate(f"{name}.csv is missing")
    return tables[name]


def learnt_rows(tables: Tables, name: str) -> pd.DataFrame:
    """A table's rows of the data sets that the fine-tune of their seed learnt, by the rule of section 3."""
    frame = get_table(tables, name)
    wide = get_table(tables, "learning").pivot_table(
        index=["seed", "dataset"], columns=["method", "metric"], values=["value", "ci_low"]
    )
    if ("value", "after", "p_change") not in wide:
        raise NoEstimate("learning.csv does not say what was learnt")
    before, after, constant = (wide["value", when, "task_accuracy"] for when in ("before", "after", "constant"))
    rose = (after > before) & (wide["value", "after", "p_change"] < 0.05)
    learnt = rose & ((constant == 1) | (wide["ci_low", "after", "task_accuracy"] > constant))
    rows = frame[pd.MultiIndex.from_frame(frame[["seed", "dataset"]]).isin(learnt.index[learnt])]
    if rows.empty:
        raise NoEstimate("no task was learnt")
    return rows


def rows_against(frame: pd.DataFrame, metric: str, method: str, others: Iterable[str]) -> pd.DataFrame:
    """The rows that compare a method with all the others; with fewer of them the test would be easier to pass."""
    rows = frame[(frame.metric == metric) & (frame.method == method) & frame.against.isin(list(others))]
    if absent := [name for name in others if name not in set(rows.against)]:
        raise NoEstimate(f"{NAMES[method]} is not held against {', '.join(NAMES.get(name, name) for name in absent)}")
    return rows


def over_best(frame: pd.DataFrame, method: str) -> pd.DataFrame:
    """The rows that hold a method against the baseline that is best in that seed and data set."""
    of_baselines = frame[(frame.against == ITSELF) & frame.method.isin(BASELINES)]
    highest = of_baselines.groupby(["seed", "dataset"]).value.idxmax()
    best = of_baselines.loc[highest, ["seed", "dataset", "method"]]
    return frame[frame.method == method].merge(best.rename(columns={"method": "against"}))


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows, one per seed, as estimates."""
    return rows[ESTIMATE].reset_index(drop=True)


def by_group(rows: pd.DataFrame, columns: list[str], label: str, estimate: Callable = by_seed) -> Conditions:
    """The estimates of each group of rows, under the label that its values of the columns fill in."""
    return {label.format(*values): estimate(part) for values, part in rows.groupby(columns, sort=False)}


def mean_by_seed(rows: pd.DataFrame, paired: bool) -> pd.DataFrame:
    """The mean of each seed's rows. Estimates of the same examples (`paired`) may rise and fall together, so their mean
    is as uncertain as they are on average; otherwise they are independent."""

    def mean(rows: pd.DataFrame) -> pd.Series:
        halves, value = _half_width(rows).to_numpy(), rows.value.mean()
        half = halves.mean() if paired else (halves @ halves) ** 0.5 / len(halves)
        return pd.Series({"value": value, "ci_low": value - half, "ci_high": value + half})

    if rows.empty:
        raise NoEstimate("no rows to average")
    return rows.groupby("seed")[ESTIMATE[1:]].apply(mean).reset_index()


def pooled_methods(rows: pd.DataFrame) -> Iterator[tuple[str, Pooled, list[float]]]:
    """Method, its mean over data sets pooled over seeds, and each data set's mean; of methods that all have."""
    everywhere = rows.groupby("method").dataset.nunique() == rows.dataset.nunique()
    for method, part in rows[rows.method.map(everywhere).astype(bool)].groupby("method", sort=False):
        mean = mean_by_seed(part, paired=False)
        pooled = pool(mean.value, mean.ci_low, mean.ci_high)
        yield str(method), pooled, part.groupby("dataset").value.mean().to_list()


def difference(minuend: pd.DataFrame, subtrahend: pd.DataFrame) -> pd.DataFrame:
    """The difference of independent estimates, in the seeds that have both."""
    both = minuend.merge(subtrahend, on="seed", suffixes=("", "_other"))
    half = np.hypot(_half_width(both), _half_width(both, "_other"))
    value = both.value - both.value_other
    return pd.DataFrame({"seed": both.seed, "value": value, "ci_low": value - half, "ci_high": value + half})


def negated(rows: pd.DataFrame) -> pd.DataFrame:
    """How far an estimate falls."""
    return rows.assign(value=-rows.value, ci_low=-rows.ci_high, ci_high=-rows.ci_low)


def log10(rows: pd.DataFrame) -> pd.DataFrame:
    """Base-10 logarithm of a positive estimate, with its interval by the delta method."""
    half, value = _half_width(rows) / rows.value / np.log(10), np.log10(rows.value)
    return by_seed(rows.assign(value=value, ci_low=value - half, ci_high=value + half))


def all_of(conditions: Conditions) -> Evidence:
    return {"": conditions}


def any_of(conditions: Conditions) -> Evidence:
    return {name: {"": rows} for name, rows in conditions.items()}


def _half_width(rows: pd.DataFrame, suffix: str = "") -> pd.Series:
    return half_width(*(rows[f"{name}{suffix}"] for name in ESTIMATE[1:]))
