"""How a claim's estimate is written: its digits and unit, what it is of, where its evidence is."""

import pandas as pd

from study.claims.claims import Claim
from study.methods import NAMES, ORACLE
from study.report.names import DATASETS

UNITS = {"share": " points", "correlation": "", "number": "", "nats": " nats", "times": " ×"}


def with_interval(row, unit: str) -> str:
    """`0.46 [0.31, 0.60]` with its unit; empty where there is no estimate."""
    return "" if pd.isna(row.value) else f"{with_ends(row.value, row.ci_low, row.ci_high, unit)}{UNITS[unit]}"


def with_ends(value: float, low: float, high: float, unit: str) -> str:
    """The same without its unit, of a value with the ends of its interval, which may be missing."""
    ends = "" if pd.isna(low) else f" [{digits(low, unit)}, {digits(high, unit)}]"
    return f"{digits(value, unit)}{ends}"


def cell(row, unit: str) -> str:
    """The same over what it is of."""
    number = with_interval(row, unit)
    return f"{number}<br>{subject(row.of)}" if number and row.of else number


def digits(value: float, unit: str) -> str:
    """A share in points, a base-10 logarithm as a factor, nats to the thousandth, all else to the hundredth."""
    if unit == "share":
        text = f"{100 * value:.1f}"
    elif unit == "times":
        text = f"{10**value:.2f}"
    else:
        text = f"{value:.3f}" if unit == "nats" else f"{value:.2f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def subject(of: str) -> str:
    """What an estimate is of, in the names of the book."""
    names = NAMES | DATASETS | {ORACLE: "random harmful examples"}
    return ", ".join(" ".join(names.get(word, word) for word in part.split(" ")) for part in of.split(", "))


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def link(row, claim: Claim) -> str:
    """A reference to the evidence of a claim that has an estimate."""
    if pd.isna(row.value) or not claim.evidence:
        return ""
    return f"{{{'ref' if claim.evidence.startswith('sec-') else 'numref'}}}`{claim.evidence}`"
