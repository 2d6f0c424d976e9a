"""Estimates a seed, with their intervals: read from tables, averaged, subtracted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from study import statistics
from study.pipeline.further_methods import FURTHER
from study.report.names import NAMES

Tables = Mapping[str, pd.DataFrame]  # name of the CSV -> its rows, of all seeds
Evidence = dict[str, dict[str, pd.DataFrame]]  # alternative -> condition -> estimates, a row a seed
ROW = ["seed", "value", "ci_low", "ci_high"]
PAPERS = ("datainf", "lissa", "gradsim")
INFLUENCE = (*PAPERS, "exact", *FURTHER)
ITSELF = "nothing"  # against nothing: a method's own value, not a difference


class Lacking(Exception):
    """Why a statistic cannot be had, in a few words."""


def rows_of(tables: Tables, name: str) -> pd.DataFrame:
    """The table of that name. Raises Lacking where there is none."""
    if name not in tables:
        raise Lacking(f"{name}.csv is missing")
    return tables[name]


def rows_learnt(tables: Tables, name: str) -> pd.DataFrame:
    """The rows of a table that are of data sets which that seed's fine-tune learnt, by the rule of section 3."""
    frame = rows_of(tables, name)
    wide = rows_of(tables, "learning").pivot_table(
        index=["seed", "dataset"], columns=["method", "metric"], values=["value", "ci_low"]
    )
    if ("value", "after", "p_change") not in wide:
        raise Lacking("learning.csv does not say what was learnt")
    before, after, constant = (wide["value", when, "task_accuracy"] for when in ("before", "after", "constant"))
    above = wide["ci_low", "after", "task_accuracy"] > constant
    changed = (after > before) & (wide["value", "after", "p_change"] < 0.05)
    kept = above.where(constant < 1, changed)
    found = frame[pd.MultiIndex.from_frame(frame[["seed", "dataset"]]).isin(kept.index[kept])]
    if found.empty:
        raise Lacking("no task was learnt")
    return found


def held(frame: pd.DataFrame, metric: str, method: str, others: Iterable[str]) -> pd.DataFrame:
    """The rows in which a method is held against all the others; a decision by fewer would be an easier one."""
    part = frame[(frame.metric == metric) & (frame.method == method) & frame.against.isin(list(others))]
    if absent := [name for name in others if name not in set(part.against)]:
        raise Lacking(f"{NAMES[method]} is not held against {', '.join(NAMES[name] for name in absent)}")
    return part


def by_seed(part: pd.DataFrame) -> pd.DataFrame:
    """Tidy rows, one a seed, as estimates."""
    return part[ROW].reset_index(drop=True)


def mean_by_seed(part: pd.DataFrame, paired: bool) -> pd.DataFrame:
    """The mean of a seed's rows. Estimates of the same examples (`paired`) may go up and down together, and their mean
    is as uncertain as they are on average; else they are independent."""

    def one(rows: pd.DataFrame) -> pd.Series:
        half, value = _half(rows).to_numpy(), rows.value.mean()
        half = half.mean() if paired else (half @ half) ** 0.5 / len(half)
        return pd.Series({"value": value, "ci_low": value - half, "ci_high": value + half})

    if part.empty:
        raise Lacking("no rows to average")
    return part.groupby("seed")[ROW[1:]].apply(one).reset_index()


def difference(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """The difference of independent estimates, in seeds that have both."""
    both = one.merge(other, on="seed", suffixes=("", "_other"))
    half = np.hypot(_half(both), _half(both, "_other"))
    value = both.value - both.value_other
    return pd.DataFrame({"seed": both.seed, "value": value, "ci_low": value - half, "ci_high": value + half})


def log10(part: pd.DataFrame) -> pd.DataFrame:
    """Base-10 logarithm of a positive estimate, whose interval is taken by the delta method."""
    half, value = _half(part) / part.value / np.log(10), np.log10(part.value)
    return by_seed(part.assign(value=value, ci_low=value - half, ci_high=value + half))


def together(conditions: dict[str, pd.DataFrame]) -> Evidence:
    """One alternative: all conditions have to hold."""
    return some({"": conditions}, "no such rows")


def singly(conditions: dict[str, pd.DataFrame]) -> Evidence:
    """Each condition by itself is enough."""
    if not conditions:
        raise Lacking("no such rows")
    return {name: {"": each} for name, each in conditions.items()}


def some(found: Evidence, otherwise: str) -> Evidence:
    """The alternatives that have any condition. Raises Lacking, saying `otherwise`, where none has."""
    found = {name: conditions for name, conditions in found.items() if conditions}
    if not found:
        raise Lacking(otherwise)
    return found


def _half(part: pd.DataFrame, suffix: str = "") -> pd.Series:
    return statistics.farther(*(part[f"{name}{suffix}"] for name in ROW[1:]))
