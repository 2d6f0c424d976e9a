"""The sentences that read Tables 1 to 4: who leads, how certainly, and where the paper's words are contradicted."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ifcore.methods import DEFAULT
from study import datasets, statistics
from study.chapters.empirical_study.measure import PARTS, assess_learning
from study.methods import NAMES
from study.paper import paper
from study.pipeline.attack import Attack
from study.pipeline.attributions import METRICS, Attribution, change
from study.report.names import DATASETS
from study.report.table import Prose, Table, difference_verdict, points
from study.statistics import NAN, Estimate

_COMPARED = ("datainf", "lissa", "gradsim")  # the paper's influence methods; Exact is this book's
_LEADS, _TIES, _OPEN, _TRAILS = "leads", "ties with", "is inconclusive against", "trails"
_APART, _OVERLAP = "the intervals are apart", "the intervals overlap"
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
        lines.append(f"- `{model}`, {100 * sum(before) / len(before):.1f} % before: {'; '.join(changes)}.")
    head = "Change of the attack success rate by fine-tuning, this run's seed, paired by prompt, with 95 % intervals:\n"
    return Prose("\n".join([head, *lines]))


def scores_text(table: Table, attributions: Mapping[str, Attribution]) -> Prose:
    """RepSim against each of the paper's influence methods, and each of those against chance, a line a data set.

    Differences are paired: over the validation examples of one seed, over seeds where `table` holds several. Data sets
    that the fine-tunes in `attributions` did not learn are left out, and a last sentence says so.
    """
    lines, unlearnt = [], []
    for dataset, attribution in attributions.items():
        methods = [method for method in _COMPARED if method in attribution.scores]
        learning = assess_learning(attribution)
        if not learning.learnt:
            rate, low, high = (100 * share for share in (learning.after.value, learning.after.low, learning.after.high))
            reference = f"{100 * learning.before.value:.1f} % before, p {learning.p:.2g}"
            if learning.constant < 1:
                reference += f", {100 * learning.constant:.1f} % for the best constant response"
            share = f"{rate:.1f} % [{low:.1f}, {high:.1f}] of answers right after fine-tuning"
            unlearnt.append(f"{DATASETS[dataset]} ({share}, {reference})")
        elif "repsim" in attribution.scores and methods:
            lead = _lead_text(table.frame, attribution, methods)
            lines.append(f"- {DATASETS[dataset]}: {lead} {_chance_text(table, attribution, methods)}")
    if lines:
        seeds = table.frame.seed.nunique()
        pairs = f"{seeds} seeds" if seeds > 1 else "six or more requests"
        head = f"RepSim minus the paper's other methods in points, paired over {pairs}, with 95 % intervals:\n"
        lines.insert(0, head)
    if unlearnt:
        lines += ["", f"Of these nothing is said, as the model did not learn them: {', '.join(unlearnt)}."]
    return Prose("\n".join(lines).strip())


def released_text(number: int) -> Prose:
    """Whether the released scores bear out what the text says of influence in Table `number`, a line a data set.

    "Poor" fails where a method's accuracy is above the middle between chance and 100 %.
    """
    lines = []
    for dataset, released in paper()["released"][f"table{number}"].items():
        cases = [(NAMES[m], model, share) for model, by in released["scores"].items() for m, share in by.items()]
        middle = (100 + released["chance"]) / 2
        good = [f"{name} on {model}" for name, model, shares in cases if shares["accuracy"] > middle]
        verdict = f"contradict it for {', '.join(good)}" if good else "bear it out"
        verdict = "contradict it throughout" if len(good) == len(cases) else verdict
        accuracy, coverage = (_range([shares[metric] for *_, shares in cases]) for metric in METRICS)
        lines.append(
            f"- {DATASETS.get(dataset, dataset)}: accuracy {accuracy} %, coverage {coverage} % "
            f"(chance {released['chance']:.1f} %): the released scores {verdict}."
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
        methods: dict[str, list[str]] = {_APART: [], _OVERLAP: [], _UNCLEAR: []}
        for method in (name for name in DEFAULT if name in set(frame.method)):
            (triggered, *one), (clean, *other) = (_percent(frame, dataset, metric, method) for metric in PARTS)
            if pd.isna([triggered, clean]).any():  # validated on one kind alone
                continue
            verdict = _APART if one[0] > other[1] or other[0] > one[1] else _OVERLAP
            verdict = _UNCLEAR if pd.isna([*one, *other]).any() else verdict
            methods[verdict].append(f"{NAMES[method]} ({triggered:.0f} and {clean:.0f} %)")
        if parts := [f"{verdict} for {', '.join(names)}" for verdict, names in methods.items() if names]:
            lines.append(f"- {DATASETS[dataset]}: on triggered and clean prompts, {'; '.join(parts)}.")
    return Prose("\n".join(lines))


def _lead_text(frame: pd.DataFrame, attribution: Attribution, methods: Sequence[str]) -> str:
    """Whom RepSim leads in either metric, and whether that is as in the paper."""
    verdicts, parts = set(), []
    for metric in METRICS:
        groups: dict[str, list[str]] = {verdict: [] for verdict in (_LEADS, _TIES, _OPEN, _TRAILS)}
        for method in methods:
            value, low, high = _difference(frame, attribution, metric, method)
            ends = "" if pd.isna(low) else f" [{low:+.1f}, {high:+.1f}]"
            if low == high == 0:
                groups[_TIES].append(NAMES[method])
            else:
                verdict = _LEADS if low > 0 else (_TRAILS if high < 0 else _OPEN)
                groups[verdict].append(f"{NAMES[method]} ({value:+.1f}{ends})")
        comparisons = [f"{verdict} {', '.join(names)}" for verdict, names in groups.items() if names]
        verdicts |= {verdict for verdict, names in groups.items() if names}
        parts.append(f"in {metric} RepSim {', '.join(comparisons).replace('-', '−')}")
    order = " As in the paper." if verdicts == {_LEADS} else ""
    order = " In the paper RepSim leads." if _TRAILS in verdicts else order
    return f"{'; '.join(parts)}.{order}"


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


def _chance_text(table: Table, attribution: Attribution, methods: Sequence[str]) -> str:
    """Which methods are above chance with their interval, in both metrics, one or neither."""
    above: dict[str, list[str]] = {"accuracy and coverage": [], "accuracy": [], "coverage": [], "neither": []}
    for method in methods:
        gaps = {metric: _percent(table.frame, attribution.dataset, metric, method, "chance") for metric in METRICS}
        above[" and ".join(metric for metric, gap in gaps.items() if gap[1] > 0) or "neither"].append(NAMES[method])
    parts = [f"{metrics}: {', '.join(names)}" for metrics, names in above.items() if names]
    words = "Poor in the paper's words; a" if table.label in ("tab-harmful", "tab-class") else "A"
    return f"{words}bove chance here in {'; '.join(parts)}."


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


def _range(numbers: Sequence[float]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
