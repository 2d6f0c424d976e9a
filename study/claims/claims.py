"""The claims that get a verdict and their tests, from claims.yaml."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from study.report.provenance import git

PRIMARY, SECONDARY = "primary", "secondary"


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and its test, as claims.yaml explains them."""

    id: str
    kind: str
    section: str
    claim: str
    test: str
    statistic: str
    tables: list[str]
    side: str
    threshold: float
    smallest: float
    unit: str
    evidence: str


@cache
def claims() -> tuple[Claim, ...]:
    """All claims, in the order of the scorecard, the primary ones first."""
    kinds = ((kind, row) for kind in (PRIMARY, SECONDARY) for row in _file()[kind])
    return tuple(
        Claim(kind=kind, **{key: row[key] for key in row if key != "stands"}, **row["stands"]) for kind, row in kinds
    )


def with_claims(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Iterator[tuple[Any, Claim]]:
    """Each row of a scorecard with its claim."""
    by_id = {claim.id: claim for claim in claims}
    return ((row, by_id[row.claim]) for row in scorecard.itertuples())


def fixed_on() -> str:
    """The date on which tests and thresholds were fixed."""
    return str(_file()["date"])


def fixed_in(root: Path) -> str:
    """The commit that last changed a test; empty where the checkout's history does not say. Words may change later."""
    if git(root, "rev-parse", "--is-shallow-repository") != "false":
        return ""
    return git(root, "log", "-1", "--format=%h", f"-G{_OF_A_TEST}", "--", str(_FILE))


def named_method() -> str:
    """The one of the paper's influence methods that primary claims are about."""
    return _file()["named_method"]


@cache
def _file() -> dict[str, Any]:
    return yaml.safe_load(_FILE.read_text(encoding="utf-8"))


_OF_A_TEST = r"^ *(statistic|stands|named_method|date):"
_FILE = Path(__file__).with_name("claims.yaml")
