"""What the first page says: the answer, the primary claims, and how this run stands to the published seeds."""

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ifcore import io
from study.claims import numbers
from study.claims.claims import PRIMARY, Claim, fixed_in, fixed_on, named_method, with_claims
from study.claims.replication import DIFFERS, OTHER_SIDE, OUTSIDE, REPLICATES, REPRODUCES
from study.claims.verdicts import CONFIRMING, MIN_SEEDS, NOT_SUPPORTED, NOT_TESTABLE, OPEN, SUPPORTED
from study.config import Run, make_run
from study.methods import NAMES
from study.report.names import model_name
from study.report.published import FOLDER
from study.report.results import save_table
from study.report.table import Prose, Table

MIXTURE, MIXED = "mixed_small", ("harmful", "benign")
_SENTENCES = (("influence_lds", "influence_removal"), ("repsim_labels", "repsim_lds"), ("model_needed",))


def confirming(folders: Sequence[Path]) -> list[Path]:
    """The folders of the seeds that give verdicts, where these are enough; else none."""
    candidates = [folder for folder in folders if _seed(folder) >= CONFIRMING]
    return candidates if len(candidates) >= MIN_SEEDS else []


def answer_text(run: Run, scorecard: pd.DataFrame, claims: Sequence[Claim], folders: Sequence[Path]) -> Prose:
    """The answer in three sentences, and the seeds that it goes by, whose tables are in `folders`."""
    lines = (f"{number}. {line}" for number, line in enumerate(sentences(scorecard, claims), 1))
    return Prose("\n".join([_basis(run, scorecard, folders), "", *lines]))


def setup_text(run: Run, folders: Sequence[Path]) -> Prose:
    """What the seeds in `folders` were trained on, and how often again, by their profile."""
    name = folders[0].parent.name
    profile = run.profile if name == run.profile.name else make_run(name, root=run.root).profile
    sizes, plan = profile.datasets.get(MIXTURE), profile.counterfactual
    if sizes is None or plan is None:
        return Prose("")
    harmful, benign = (sizes.train[name] if isinstance(sizes.train, dict) else sizes.train for name in MIXED)
    times = plan.retrainings.get(MIXTURE, 1)
    halves = f"{plan.halves} halves that keep half of each class" + (f", {times} times each" if times > 1 else "")
    return Prose(
        f"Each seed fine-tunes a model that refuses harmful requests on {harmful + benign} examples, {harmful} of them "
        f"harmful, after which it complies, and then again on {halves}, and without {plan.removed} examples at a time; "
        "and so on other data sets. LiSSA, DataInf and GradSim are influence methods, made of gradients; RepSim "
        "compares hidden states."
    )


def sentences(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> list[str]:
    """The answer, with the numbers that it rests on; what RepSim knows; what the texts alone tell."""
    clauses = {row.claim: _clause(row, claim) for row, claim in _primary(scorecard, claims)}
    first, *others = (numbers.capitalised("; ".join(clauses[name] for name in names)) + "." for names in _SENTENCES)
    return [f"**{headline(scorecard)}** {first}", *others]


def whose(folders: Sequence[Path]) -> str:
    """`the published seeds 10 to 17 of the profile laptop`; `this run's seed 0 of …`."""
    seeds = sorted(map(_seed, folders))
    several = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1))
    listed = f"{seeds[0]} to {seeds[-1]}" if several else ", ".join(map(str, seeds))
    source = "the published" if folders[0].parents[1].name == FOLDER.name else "this run's"
    return f"{source} seed{'s' * (len(seeds) > 1)} {listed} of the profile {folders[0].parent.name}"


def model_of(run: Run, folders: Sequence[Path]) -> str:
    """The model that the tables in `folders` are of."""
    return model_name(io.read_json(folders[0] / "run.json").get("model", run.profile.model))


def headline(scorecard: pd.DataFrame) -> str:
    """The answer to the title's question: by whether influence predicts retraining, and whether what it ranks highest
    matters most."""
    verdicts = scorecard.set_index("claim").verdict.reindex(_SENTENCES[0])
    supported, refused = ((verdicts == verdict).sum() for verdict in (SUPPORTED, NOT_SUPPORTED))
    kind = ("open", "one", "both")[supported]
    return _sentences()["headline"]["neither" if refused == len(verdicts) else kind]


def primary_table(run: Run, scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Table:
    """The primary claims, each with its verdict and the estimate that it hangs on."""
    rows = []
    for row, claim in _primary(scorecard, claims):
        reason = f"<br>{row.reason}" if isinstance(row.reason, str) else ""
        ends = f"{_SIDES[claim.side]} {numbers.digits(claim.threshold, claim.unit)}{numbers.UNITS[claim.unit]}"
        rows.append(
            [claim.claim, f"**{row.verdict}**{reason}", numbers.cell(row, claim.unit), ends, numbers.link(row, claim)]
        )
    commit = fixed_in(run.root)
    caption = (
        "The five primary claims. Each test has one statistic and one threshold, and was fixed on "
        f"{fixed_on()}{f', in commit {commit},' if commit else ''} before seeds {CONFIRMING} and above were run. The "
        "chance of any wrong verdict here is at most 5 %."
    )
    return Table(None, caption, ["Claim", "Verdict", "Estimate", "Holds if", "Evidence"], rows, scorecard, text=True)


def run_text(run: Run, frame: pd.DataFrame, claims: Sequence[Claim], folders: Sequence[Path]) -> Prose:
    """How many of a run's estimates reproduce or replicate the published seeds, and which do not.

    Where the tables of the run, in `folders`, give the verdicts themselves, that.
    """
    if run.profile.model.startswith("random:"):
        return Prose(
            f"**Your run** has the profile `{run.profile.name}`, whose model is small and of random weights. It shows "
            "that all runs; its numbers say nothing of influence functions."
        )
    seeds = ", ".join(map(str, sorted(frame.seed.unique()))) or run.seed
    which = f"**Your run** (profile `{run.profile.name}`, seed {seeds})"
    if frame.empty and confirming(folders):
        return Prose(f"{numbers.capitalised(whose(folders))} are the ones that give the verdicts.")
    if frame.empty:
        return Prose(f"{which} cannot be compared yet: too few published seeds give verdicts.")
    names, counts = {claim.id: claim.claim for claim in claims}, frame.outcome.value_counts()
    good = [f"{verb} {counts.get(verb, 0)}" for verb in (REPRODUCES, REPLICATES) if verb in counts]
    text = f"{which} {' and '.join(good) or 'replicates none'} of {len(frame)} comparisons with published estimates."
    for outcome, words in _OUTCOMES.items():
        if missed := list(dict.fromkeys(names[row.claim] for row in frame[frame.outcome == outcome].itertuples())):
            text += f" {words}: {'; '.join(missed)}."
    return Prose(text)


def replication_table(run: Run, frame: pd.DataFrame, claims: Sequence[Claim]) -> Table | None:
    """Each estimate of a run beside that of the published seeds, folded; None without any. Leaves replication.csv."""
    if frame.empty:
        return None
    by_id, rows = {claim.id: claim for claim in claims}, []
    for row in frame.itertuples():
        unit = by_id[row.claim].unit
        ends = "" if pd.isna(row.low) else f" [{numbers.digits(row.low, unit)}, {numbers.digits(row.high, unit)}]"
        expected = f"{numbers.digits(row.expected, unit)}{ends}{numbers.UNITS[unit]}"
        cells = [by_id[row.claim].claim, numbers.subject(row.of), str(row.seed), numbers.digits(row.value, unit)]
        rows.append([*cells, expected, f"**{row.outcome}**"])
    caption = (
        "This run beside the published seeds. A published seed should have the published value; another one a value "
        "between the ends in brackets, where 95 % of further seeds fall, on the same side of the claim's threshold."
    )
    header = ["Claim", "Estimate", "Seed", "This run", "Expected", "Outcome"]
    made = save_table(run, "replication", frame)
    return Table(None, caption, header, rows, made, text=True, folded="Every estimate of your run beside the published")


_SIDES = {"above": ">", "below": "<", "within": "within ±"}
_OUTCOMES = {
    DIFFERS: "Another value than the published",
    OUTSIDE: "Outside the 95 % prediction interval",
    OTHER_SIDE: "On the other side of the threshold",
}


def _basis(run: Run, scorecard: pd.DataFrame, folders: Sequence[Path]) -> str:
    """Whose answer it is, and of which model; and that it is none where the seeds give no verdict."""
    text = f"**The answer** of {whose(folders)} ({model_of(run, folders)})"
    primary = scorecard[scorecard.kind == PRIMARY]
    if not set(primary.verdict) <= {OPEN, NOT_TESTABLE} or primary.seeds.max() >= MIN_SEEDS:
        return f"{text}:"
    return f"{text}. No verdict yet: that takes {MIN_SEEDS} seeds from {CONFIRMING} on."


def _primary(scorecard: pd.DataFrame, claims: Sequence[Claim]) -> Iterator[tuple[Any, Claim]]:
    return ((row, claim) for row, claim in with_claims(scorecard, claims) if claim.kind == PRIMARY)


def _clause(row, claim: Claim) -> str:
    """What the page says of a primary claim, by its verdict and with its number."""
    if row.verdict == NOT_TESTABLE:
        return f"of *{claim.claim}* there is no estimate ({row.reason})"
    number = numbers.with_interval(row, claim.unit)
    return _sentences()[claim.id][row.verdict].format(method=NAMES[named_method()], number=number)


@cache
def _sentences() -> dict[str, Any]:
    return yaml.safe_load(Path(__file__).with_name("sentences.yaml").read_text(encoding="utf-8"))


def _seed(folder: Path) -> int:
    return int(folder.name.removeprefix("seed-"))
