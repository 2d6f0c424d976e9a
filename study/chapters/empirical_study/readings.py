"""The sentences that read Tables 2 to 4: who leads, how certainly, and where the paper's words are contradicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ifcore import metrics
from study import datasets, statistics
from study.chapters.empirical_study import learning
from study.chapters.empirical_study.tables import PARTS
from study.paper import paper
from study.pipeline.attack import Attack
from study.pipeline.attributions import Attribution
from study.profile import METHODS
from study.report.names import DATASETS, NAMES
from study.report.table import Prose, Table, decided, points

INFLUENCE = ("datainf", "lissa", "gradsim")  # the paper's; Exact is this book's
_METRICS = {"accuracy": metrics.accuracy, "coverage": metrics.coverage}


def attack_text(attacks: Sequence[Attack]) -> Prose:
    """What fine-tuning does to each model's attack success, prompt by prompt, with a 95 % interval and a verdict."""
    lines = []
    for model in dict.fromkeys(each.model for each in attacks):
        success = {each.fine_tuned_on: each.success for each in attacks if each.model == model}
        told = []
        for name in ("benign", "harmful", "mixed"):
            gaps = [int(after) - int(before) for before, after in zip(success["nothing"], success[name], strict=True)]
            ends = statistics.interval_of_change(gaps)
            verdict = decided(*ends, "more attacks succeed", "fewer succeed")
            told.append(f"on {name} examples {points(sum(gaps) / len(gaps), *ends)} ({verdict})")
        lines.append(f"- `{model}`, {100 * sum(success['nothing']) / len(gaps):.1f} % before: {'; '.join(told)}.")
    head = "Change of the attack success rate by fine-tuning, this run's seed, paired by prompt, with 95 % intervals:\n"
    return Prose("\n".join([head, *lines]))


def scores_text(table: Table, attributions: Mapping[str, Attribution]) -> Prose:
    """RepSim against each of the paper's influence methods, and each of those against chance, a line a data set.

    Differences are paired: over the validation examples of one seed, over seeds where `table` holds several. Data sets
    that the fine-tunes in `attributions` did not learn are left out, and a last sentence says so.
    """
    seeds = table.frame.seed.nunique()
    unlearnt = {name: found for name, found in attributions.items() if not learning.learning(found).learnt}
    lines = []
    for dataset, found in attributions.items():
        methods = [method for method in INFLUENCE if method in found.scores]
        if dataset in unlearnt or "repsim" not in found.scores or not methods:
            continue
        gaps = {metric: {m: _difference(table.frame, found, metric, m) for m in methods} for metric in _METRICS}
        verdicts = {_verdict(each) for of in gaps.values() for each in of.values()}
        told = "; ".join(f"in {metric} RepSim {_against(of)}" for metric, of in gaps.items())
        order = {frozenset({_LEADS}): " As in the paper."}.get(frozenset(verdicts), "")
        order = " In the paper RepSim leads." if _TRAILS in verdicts else order
        lines.append(f"- {DATASETS[dataset]}: {told}.{order} {_chance_text(table, found, methods)}")
    if lines:
        over = f"{seeds} seeds" if seeds > 1 else "six or more requests"
        head = f"RepSim minus the paper's other methods in points, paired over {over}, with 95 % intervals:\n"
        lines.insert(0, head)
    return Prose("\n".join([*lines, "", learning.left_out(unlearnt)]).strip())


def released_text(number: int) -> Prose:
    """Whether the released scores bear out what the text says of influence in Table `number`, a line a data set.

    "Poor" fails where a method's accuracy is above the middle between chance and 100 %.
    """
    lines = []
    for dataset, each in paper()["released"][f"table{number}"].items():
        cases = [(NAMES[m], model, s) for model, of in each["scores"].items() for m, s in of.items()]
        middle = (100 + each["chance"]) / 2
        good = [case for case in cases if case[2]["accuracy"] > middle]
        if len(good) == len(cases):
            verdict = "contradict it throughout"
        elif good:
            verdict = "contradict it for " + ", ".join(f"{name} on {model}" for name, model, _ in good)
        else:
            verdict = "bear it out"
        ends = {m: _range([scores[m] for *_, scores in cases]) for m in ("accuracy", "coverage")}
        lines.append(
            f"- {DATASETS.get(dataset, dataset)}: accuracy {ends['accuracy']} %, coverage {ends['coverage']} % "
            f"(chance {each['chance']:.1f} %): the released scores {verdict}."
        )
    head = (
        "The paper's text calls the influence methods poor here. Held against the scores released with its code, where "
        "poor means an accuracy nearer to chance than to 100 %:\n"
    )
    return Prose("\n".join([head, *lines]))


def parts_text(table4: Table) -> Prose:
    """What the mean of Table 4 hides: for each data set, whose coverage differs between triggered and clean prompts."""
    frame, lines = table4.frame, []
    for dataset in frame[frame.metric.isin(PARTS)].dataset.unique():
        words = ("the intervals are apart", "the intervals overlap", "there are too few prompts to tell")
        told: dict[str, list[str]] = {each: [] for each in words}
        for method in (name for name in METHODS if name in set(frame.method)):
            ends = [_percent(frame, dataset, metric, method) for metric in PARTS]
            if any(pd.isna(end[0]) for end in ends):  # validated on one kind alone
                continue
            (triggered, *one), (clean, *other) = ends
            apart, overlap, few = told.values()
            verdict = apart if one[0] > other[1] or other[0] > one[1] else overlap
            verdict = few if pd.isna([*one, *other]).any() else verdict
            verdict.append(f"{NAMES[method]} ({triggered:.0f} and {clean:.0f} %)")
        parts = [f"{words} for {', '.join(names)}" for words, names in told.items() if names]
        if parts:
            lines.append(f"- {DATASETS[dataset]}: on triggered and clean prompts, {'; '.join(parts)}.")
    return Prose("\n".join(lines))


_LEADS, _TIES, _OPEN, _TRAILS = "leads", "ties with", "is inconclusive against", "trails"
_FEWEST = 6  # requests of which an interval is believed: however five fall out, no sign test decides at 5 %


def _difference(frame: pd.DataFrame, found: Attribution, metric: str, method: str) -> tuple[float, float, float]:
    """RepSim minus a method in points and its interval, over seeds or the validation examples of one."""
    if frame.seed.nunique() > 1:
        part = frame[(frame.dataset == found.dataset) & (frame.metric == metric)]
        wide = part.pivot_table(index="seed", columns="method", values="value")
        gaps = wide["repsim"] - wide[method]
        value, (low, high) = gaps.mean(), statistics.interval_of_mean(gaps)
    else:
        labels = [[example.label for example in part] for part in (found.train, found.val)]
        both = found.scores[method], found.scores["repsim"]
        clusters = datasets.requests(found.dataset, found.val)
        value, low, high = statistics.change(_METRICS[metric], *both, *labels, clusters)
        if len(set(clusters)) < _FEWEST:
            low = high = float("nan")
    return tuple(round(100 * each, 9) for each in (value, low, high))  # equal shares may differ in the last bit


def _verdict(difference: tuple[float, float, float]) -> str:
    _, low, high = difference
    if low == high == 0:
        return _TIES
    return _LEADS if low > 0 else (_TRAILS if high < 0 else _OPEN)


def _against(differences: Mapping[str, tuple[float, float, float]]) -> str:
    """`leads A (+50.0 [40.0, 60.0]), trails B (…)`."""
    parts = []
    for verdict in (_LEADS, _TIES, _OPEN, _TRAILS):
        told = []
        for method, (value, low, high) in differences.items():
            if _verdict((value, low, high)) == verdict:
                ends = "" if pd.isna(low) else f" [{low:+.1f}, {high:+.1f}]"
                told.append(NAMES[method] + ("" if verdict == _TIES else f" ({value:+.1f}{ends})"))
        parts += [f"{verdict} {', '.join(told)}"] if told else []
    return ", ".join(parts).replace("-", "−")


def _chance_text(table: Table, found: Attribution, methods: list[str]) -> str:
    """Which methods are above chance with their interval, in both metrics, one or neither."""
    above: dict[str, list[str]] = {"accuracy and coverage": [], "accuracy": [], "coverage": [], "neither": []}
    for method in methods:
        beats = [metric for metric in _METRICS if _percent(table.frame, found.dataset, metric, method, "chance")[1] > 0]
        above[" and ".join(beats) or "neither"].append(NAMES[method])
    told = [f"{metrics}: {', '.join(names)}" for metrics, names in above.items() if names]
    words = "Poor in the paper's words; a" if table.label in ("tab-harmful", "tab-class") else "A"
    return f"{words}bove chance here in {'; '.join(told)}."


def _percent(
    frame: pd.DataFrame, dataset: str, metric: str, method: str, less: str | None = None
) -> tuple[float, float, float]:
    """A method's value with its interval, `less` another's; NaN where there is none, or too few examples for one."""
    part = frame[(frame.dataset == dataset) & (frame.metric == metric)].set_index("method")
    if method not in part.index:
        return (float("nan"),) * 3
    rows, base = part.loc[[method]], 0.0 if less is None else part.loc[[less]].value.to_numpy()
    values = rows.value.to_numpy() - base
    ends = (rows.ci_low.to_numpy() - base, rows.ci_high.to_numpy() - base)
    low, high = (float(end[0]) if rows.n_val.iloc[0] >= _FEWEST else float("nan") for end in ends)
    if len(rows) > 1:
        low, high = statistics.interval_of_mean(values)
    return 100 * float(values.mean()), 100 * low, 100 * high


def _range(numbers: list[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
