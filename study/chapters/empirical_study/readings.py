"""The sentences that read Tables 1 to 4: who leads, how certainly, and where the paper's words are contradicted."""

from collections.abc import Mapping, Sequence

import pandas as pd

from study import datasets, statistics
from study.chapters.empirical_study.measure import assess_learning
from study.methods import NAMES
from study.pipeline.attack import Attack
from study.pipeline.attributions import Attribution, change
from study.report.names import DATASETS, model_name
from study.report.table import Prose, difference_verdict, points
from study.statistics import NAN, Estimate

_COMPARED = ("datainf", "lissa", "gradsim")  # the paper's influence methods; Exact is this book's
_AHEAD, _APART, _BEHIND = "ahead of the paper's other methods on", "without a clear lead on", "behind on"
_SEPARATE, _OVERLAP = "the intervals are apart", "the intervals overlap"
_UNCLEAR = "there are too few prompts to tell"
_FEWEST = 6  # requests of which an interval is believed: however five fall out, no sign test decides at 5 %


def attack_text(attacks: Sequence[Attack]) -> Prose:
    """What fine-tuning does to each model's attack success, prompt by prompt, with a 95 % interval and a verdict."""
    lines = []
    for model in dict.fromkeys(attack.model for attack in attacks):
        success = {attack.fine_tuned_on: attack.success for attack in attacks if attack.model == model}
        before, changes = success["nothing"], []
        for name in ("benign", "harmful", "mixed"):
            gaps = [int(new) - int(old) for old, new in zip(before, success[name], strict=True)]
            low, high = statistics.interval_of_change(gaps)
            verdict = difference_verdict(low, high, "more attacks succeed", "fewer succeed")
            changes.append(f"on {name} examples {points(sum(gaps) / len(gaps), low, high)} ({verdict})")
        lines.append(f"- {model_name(model)}, {100 * sum(before) / len(before):.1f} % before: {'; '.join(changes)}.")
    head = "Change of the attack success rate by fine-tuning, this run's seed, paired by prompt, with 95 % intervals:\n"
    return Prose("\n".join([head, *lines]))


def scores_text(frame: pd.DataFrame, attributions: Mapping[str, Attribution]) -> Prose:
    """Where RepSim is ahead of the paper's influence methods in coverage, and which of those are not above chance.

    Differences are paired: over the validation examples of one seed, over seeds where `frame` holds several. Data sets
    that the fine-tunes in `attributions` did not learn are left out, and a last sentence says so.
    """
    leads: dict[str, list[str]] = {_AHEAD: [], _APART: [], _BEHIND: []}
    at_chance, unlearnt = [], []
    for dataset, attribution in attributions.items():
        methods = [method for method in _COMPARED if method in attribution.scores]
        if not assess_learning(attribution).learnt:
            unlearnt.append(DATASETS[dataset])
        elif "repsim" in attribution.scores and methods:
            verdict, words = _lead(frame, attribution, methods)
            leads[verdict].append(f"{DATASETS[dataset]} ({words})")
            low = [m for m in methods if not _percent(frame, dataset, "coverage", m, "chance")[1] > 0]
            at_chance += [f"{', '.join(NAMES[method] for method in low)} on {DATASETS[dataset]}"] if low else []
    lines = []
    if parts := [f"{verdict} {'; '.join(names)}" for verdict, names in leads.items() if names]:
        everywhere = not (leads[_APART] or leads[_BEHIND])
        lines.append(
            f"**In coverage RepSim is {', and '.join(parts)}.** In the paper it is ahead "
            f"{'as well' if everywhere else 'everywhere'}. "
            + (f"Not clearly above chance: {'; '.join(at_chance)}." if at_chance else "All methods are above chance.")
        )
    if unlearnt:
        lines += ["", f"Not learnt, so left out: {', '.join(unlearnt)}."]
    return Prose("\n".join(lines).strip())


def _lead(frame: pd.DataFrame, attribution: Attribution, methods: Sequence[str]) -> tuple[str, str]:
    """How RepSim stands to the methods in coverage, and the numbers of those that say so."""
    gaps = {method: _difference(frame, attribution, "coverage", method) for method in methods}
    behind = [method for method, (_, _, high) in gaps.items() if high < 0]
    apart = [method for method, (_, low, _) in gaps.items() if not low > 0]
    if behind or apart:
        shown = behind or apart
        return _BEHIND if behind else _APART, ", ".join(f"{NAMES[m]} {_points(gaps[m])}" for m in shown)
    nearest = min(gaps, key=lambda method: gaps[method][0])
    return _AHEAD, f"nearest {NAMES[nearest]}, {_points(gaps[nearest])}"


def _points(gap: Estimate) -> str:
    value, low, high = gap
    ends = "" if pd.isna(low) else f" [{low:+.1f}, {high:+.1f}]"
    return f"{value:+.1f}{ends} points".replace("-", "−")


def _difference(frame: pd.DataFrame, attribution: Attribution, metric: str, method: str) -> Estimate:
    """RepSim minus a method in points and its interval, over seeds or the validation examples of one."""
    dataset = attribution.dataset
    if frame.seed.nunique() > 1:
        part = frame[(frame.dataset == dataset) & (frame.metric == metric)]
        wide = part.pivot_table(index="seed", columns="method", values="value")
        gaps = wide["repsim"] - wide[method]
        value, (low, high) = gaps.mean(), statistics.interval_of_mean(gaps)
    else:
        changes = change(dataset, attribution, attribution.scores[method], attribution.scores["repsim"])
        value, low, high = changes[metric]
        if len(set(datasets.requests(dataset, attribution.val))) < _FEWEST:
            low = high = NAN
    return round(100 * value, 9), round(100 * low, 9), round(100 * high, 9)  # equal shares may differ in the last bit


def _percent(frame: pd.DataFrame, dataset: str, metric: str, method: str, reference: str | None = None) -> Estimate:
    """A method's value less a reference's, with its interval; NaN where there is none, or too few examples for one."""
    part = frame[(frame.dataset == dataset) & (frame.metric == metric)].set_index("method")
    if method not in part.index:
        return NAN, NAN, NAN
    rows, base = part.loc[[method]], 0.0 if reference is None else part.loc[[reference]].value.to_numpy()
    values = rows.value.to_numpy() - base
    ends = (rows.ci_low.to_numpy() - base, rows.ci_high.to_numpy() - base)
    low, high = (float(end[0]) if rows.n_val.iloc[0] >= _FEWEST else NAN for end in ends)
    if len(rows) > 1:
        low, high = statistics.interval_of_mean(values)
    return 100 * float(values.mean()), 100 * low, 100 * high
