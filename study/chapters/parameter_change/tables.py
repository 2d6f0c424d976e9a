"""Section 4.3's table, with the paper's numbers beside the run's, and the sentences that read it and the figures."""

import pandas as pd

from study import statistics
from study.chapters.parameter_change.measure import MODELS, SETTLED, correlations, learning
from study.config import Run
from study.methods import NAMES
from study.paper import paper
from study.report.names import DATASETS
from study.report.results import save_table
from study.report.table import (
    Prose,
    Table,
    difference_verdict,
    interval,
    plus_minus,
    points,
    significant,
    with_published,
)

FOLLOWS = 0.5  # the rank correlation from which on a distance is said to follow behaviour
_ALONE = {"inconclusive": "as many, as far as can be told"}  # of one choice of layers
_DISTANCES = ("asr", "delta", "delta_unscaled", "kl", "kl_first")


def pairs_table(run: Run, frame: pd.DataFrame) -> Table:
    """Table 6: how far each pair of models is apart, in three ways. Leaves table6_delta.csv."""
    frame = save_table(run, "table6_delta", frame)
    seeds = frame.seed.nunique()
    rows = []
    for pair, part in frame.groupby("dataset", sort=False):
        printed = paper()["table6"][pair]
        cells = [_distance_cell(part[part.metric == metric], metric, seeds) for metric in _DISTANCES]
        cells += [f"*{printed['asr']:.2f}*", f"*{printed['delta']:.2f} ± {printed['sd']:.2f}*"]
        rows.append([" vs ".join(MODELS[name] for name in pair.split("-")), *cells])
    over = f"over {seeds} seeds" if seeds > 1 else "half the 95 % interval over prompts"
    caption = (
        "How far models are apart: in attack success rate (percentage points), in parameters (mean ± s.d. over LoRA "
        "modules of the norm of the difference of their updates, with the scaling α/r and without), and in what they "
        f"say (KL divergence in nats; ±: {over}). O: the original model; B, H, M: fine-tuned on the benign, the "
        f"harmful and all examples of the small mixture. Optimiser steps: {_steps(frame)[0]}. In italics, the paper's."
    )
    header = ["Pair", "ΔASR", "‖Δθ‖", "‖Δθ‖ unscaled", "KL, prompt", "KL, first token", "*ΔASR*", "*‖Δθ‖ unscaled*"]
    return Table("tab-delta", caption, header, rows, frame)


def pairs_text(frame: pd.DataFrame) -> Prose:
    """Whether distance in parameters, or in predictions, follows behaviour over the pairs of Table 6."""
    wide = frame.pivot_table(index="dataset", columns="metric", values="value", sort=False)
    tests, (steps, equal) = correlations(frame), _steps(frame)
    lines = [
        f"The fine-tuned models had {'the same number' if equal else 'unequal numbers'} of optimiser steps: {steps}."
    ]
    if not equal:
        lines[0] += " ‖Δθ‖ grows with steps, whatever they teach, so it is confounded with them."
    for metric, name in (("delta", "‖Δθ‖"), ("kl", "KL over the prompt"), ("kl_first", "KL at the first token")):
        spread = f"{wide[metric].max() / wide[metric].min():.1f} times the smallest"
        test = _mantel_text(tests[tests.metric == metric])
        lines.append(f"{name}: over the {len(wide)} pairs the largest is {spread}. {test}")
    printed = pd.DataFrame(paper()["table6"]).T.rename_axis("dataset")
    printed = printed[["asr", "delta"]].melt(ignore_index=False, var_name="metric").reset_index().assign(seed=0)
    lines.append(f"‖Δθ‖ in the paper's own six pairs. {_mantel_text(correlations(printed))}")
    near, far = wide.loc["harmful-mixed"], wide.loc["benign-mixed"]
    lines.append(
        f"The pair H, M, two models that both saw harmful examples, against B, M: ‖Δθ‖ {near.delta:.2f} against "
        f"{far.delta:.2f}, a ratio of {near.delta / far.delta:.2f}; KL at the first token {significant(near.kl_first)} "
        f"against {significant(far.kl_first)}, a ratio of {near.kl_first / far.kl_first:.2f}."
    )
    if wide.asr.max() < 0.5:
        lines.append(
            f"The largest ΔASR is {wide.asr.max() * 100:.0f} points, in the paper "
            f"{max(pair['asr'] for pair in paper()['table6'].values()):.0f}: no two of these models behave as "
            "differently as the argument needs. Table 1 has the rates themselves."
        )
    return _bullets(lines)


def drift_text(frame: pd.DataFrame) -> Prose:
    """Whether parameters keep moving after task accuracy has settled, as Figure 6 has it."""
    groups = frame.groupby("dataset", sort=False)
    return _bullets([f"{DATASETS[dataset]}: {_drift_sentence(part)}" for dataset, part in groups])


def graded_text(frame: pd.DataFrame) -> Prose:
    """Whether models whose parameters moved further succumb to more attacks, over the graded mixtures."""
    means = frame[frame.metric != "spearman"].groupby(["metric", "harmful"]).value.mean()
    delta, rate, adapters = means["delta"], means["asr"] * 100, frame.harmful.nunique()
    lines = [
        f"With {rate.index[0]:.0f} harmful examples the attack success rate is {rate.iloc[0]:.0f} %, with "
        f"{rate.index[-1]:.0f} it is {rate.iloc[-1]:.0f} %. ‖Δθ‖ lies between {delta.min():.2f} (with "
        f"{delta.idxmin():.0f} harmful examples) and {delta.max():.2f} (with {delta.idxmax():.0f})."
    ]
    claim = "*Whether the distance of parameters follows behaviour*"
    if rate.max() - rate.min() < 50:
        lines.append(
            f"{claim}: no two of these models differ by 50 points in that rate, so there is nothing to follow."
        )
        return _bullets(lines)
    value, low, high = statistics.pooled(frame[frame.metric == "spearman"].dropna(subset="value"))
    verdict = difference_verdict(low - FOLLOWS, high - FOLLOWS, "it follows", "it does not follow")
    verdict = verdict.replace("inconclusive", "no verdict")
    lines.append(
        f"{claim}: {verdict}. Over the {adapters} adapters the rank correlation of ‖Δθ‖ and the attack success rate is "
        f"{value:.2f}{interval(low, high)}; {FOLLOWS} or more would be following."
    )
    return _bullets(lines)


def linear_text(means: pd.DataFrame) -> Prose:
    """Whether the correlation of ‖Δθ‖ and accuracy falls with the number of parameters, as Figure 7 has it."""
    sizes = sorted(means.parameters.unique())
    saturated = []
    for parameters in (sizes[0], sizes[-1]):
        along = means[means.parameters == parameters].pivot_table(index="epoch", columns="metric", values="value")
        accuracy = along.test_accuracy
        near = accuracy.index[accuracy >= accuracy[0] + 0.9 * (accuracy.max() - accuracy[0])][0]
        share = f"{along.delta[near] * 100:.0f} % of its last"
        saturated.append(f"with {parameters:,} parameters after epoch {near:.0f}, when ‖Δθ‖ is at {share}")
    lines = [f"Nine tenths of the rise in accuracy have happened {'; '.join(saturated)}."]
    for metric, subject in (("spearman", "The rank"), ("pearson", "The linear")):
        parts = [means[(means.parameters == size) & (means.metric == metric)] for size in sizes]
        parts.append(means[means.metric == f"{metric}_change"])
        *estimates, change = (statistics.mean_over_seeds(part.value, part.ci_low, part.ci_high) for part in parts)
        by_size = (f"{value:.2f}{interval(max(low, -1), min(high, 1))}" for value, low, high in estimates)
        line = (
            f"{subject} correlation changes by {change[0]:+.2f}{interval(*change[1:])} from {sizes[0]:,} to "
            f"{sizes[-1]:,} parameters, draw by draw; size by size it is {', '.join(by_size)}."
        )
        if metric == "spearman":
            verdict = difference_verdict(*change[1:], "it grows", "it weakens").replace("inconclusive", "unclear")
            line = f"*Whether the correlation weakens as the number of parameters grows*, by rank: {verdict}. {line}"
        lines.append(line)
    return _bullets(lines)


def layers_text(frame: pd.DataFrame) -> Prose:
    """Whether the number or the place of the layers with LoRA changes what the methods find, as Figure 8 has it."""
    tuned = learning(frame)
    if tuned.share.isna().all():
        return Prose(
            "- The dev loss does not say which of these fine-tunes learnt the task: there are no dev examples, or it "
            "did not fall with LoRA on all layers either. So there is no verdict."
        )
    lines = []
    if not tuned.learnt.all():
        unlearnt = (f"{_layers(row)} ({row.share * 100:.0f} %)" for row in tuned[~tuned.learnt].itertuples())
        lines.append(
            "Hollow, and left out below, because the dev loss fell by less than half of its fall with LoRA on all "
            f"layers: {', '.join(unlearnt)}."
        )
    gains = frame[frame.metric == "coverage_gain"].merge(tuned[tuned.learnt])
    for over, choice in (("count", "the last layers only"), ("window", "a window of layers")):
        claim = f"*No choice of layers improves influence functions*, coverage with {choice} against all of them"
        lines.append(f"{claim}: {_gains_text(gains[gains.over == over])}")
    return _bullets(lines)


def _bullets(lines: list[str]) -> Prose:
    return Prose("\n".join(f"- {line}" for line in lines))


def _distance_cell(rows: pd.DataFrame, metric: str, seeds: int) -> str:
    scale, write = (100, "{:.1f}".format) if metric == "asr" else (1, _two_decimals)
    over_seeds = seeds > 1 and not metric.startswith("delta")  # whose spread is over LoRA modules
    spread = (rows.value.std() if over_seeds else (rows.value - rows.ci_low).mean()) * scale
    return with_published(
        plus_minus(rows.value.mean() * scale, spread, write), rows, write=lambda value: write(value * scale)
    )


def _two_decimals(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= 0.05 or value == 0 else significant(value)


def _steps(frame: pd.DataFrame) -> tuple[str, bool]:
    """B's, H's and M's numbers of optimiser steps in the seeds: `B 12, H 18, M 30`; whether they are the same."""
    groups, numbers = frame[frame.metric == "steps"].groupby("dataset").value, {}
    for name in list(MODELS)[1:]:
        steps = sorted(groups.get_group(f"original-{name}").astype(int).unique())
        numbers[MODELS[name]] = " or ".join(map(str, steps))
    return ", ".join(map(" ".join, numbers.items())), len(set(numbers.values())) == 1


def _mantel_text(tests: pd.DataFrame) -> str:
    """The rank correlation with |ΔASR| and its verdict: by Mantel's test for one seed, by the interval over several."""
    tests = tests.dropna()
    if tests.empty:
        return "It, or |ΔASR|, is the same for all pairs, so there is nothing to correlate."
    if len(tests) > 1:
        mean, low, high = statistics.pooled(tests)
        verdict = difference_verdict(
            low, high, "it follows behaviour in these four models", "it runs against behaviour"
        )
        return f"Rank correlation with |ΔASR| over {len(tests)} seeds {mean:.2f}{interval(low, high)}: {verdict}."
    (row,) = tests.itertuples()
    verdict = "it follows behaviour" if row.p <= 0.05 else "unclear"
    if row.smallest > 0.05:
        verdict = "four models that differ so little cannot reach p < 0.05"
    return (
        f"Rank correlation with |ΔASR| {row.value:.2f}, Mantel's p = {row.p:.3f}; the smallest p that these distances "
        f"allow is {row.smallest:.3f}: {verdict}."
    )


def _drift_sentence(part: pd.DataFrame) -> str:
    """By how much ‖Δθ‖ grows after task accuracy has settled, over the seeds in which that is before the last epoch."""
    growth, seeds = part[part.metric == "growth"], part.seed.nunique()
    accuracy = part[part.metric == "task_accuracy"].groupby("epoch").value.mean()
    share, epochs = f"{SETTLED * 100:.0f} % of its last", ", ".join(map(str, accuracy.index))
    if accuracy.iloc[-1] <= accuracy.iloc[0]:
        return "task accuracy is no higher after fine-tuning than before, so there is nothing that could settle."
    if growth.empty:
        return (
            f"of the epochs at which it is measured ({epochs}), task accuracy is at {share} only at the last: it had "
            "not settled when training ended, so there is nothing to see after."
        )
    times = f"{(growth.value.mean() - 1) * 100:+.1f} %"
    if seeds > 1:
        return (
            f"in {len(growth)} of {seeds} seeds task accuracy is at {share} before training ends; from then on ‖Δθ‖ "
            f"changes by {times}."
        )
    (settled,) = growth.epoch
    return (
        f"task accuracy is at {share} at epoch {settled}; from there to epoch {part.epoch.max()} ‖Δθ‖ changes by "
        f"{times}."
    )


def _gains_text(gains: pd.DataFrame) -> str:
    """Of how many choices of layers each method finds more or fewer, and what the best gains."""
    parts = []
    for method in ("datainf", "gradsim", "exact", "repsim"):
        choices = gains[gains.method == method].groupby(["layers", "first"])
        estimates = [statistics.pooled(rows) for _, rows in choices]
        verdicts = [difference_verdict(low, high, "more", "fewer") for _, low, high in estimates]
        if len(estimates) == 1:
            (verdict,), (gain,) = verdicts, estimates
            parts.append(f"{NAMES[method]} finds {_ALONE.get(verdict, verdict)}, {points(*gain)}")
        elif estimates:
            counts = f"more with {verdicts.count('more')} and fewer with {verdicts.count('fewer')} of {len(verdicts)}"
            parts.append(f"{NAMES[method]} finds {counts} choices, at best {points(*max(estimates))}")
    return f"{'; '.join(parts) or 'no such fine-tune has learnt the task'}."


def _layers(row) -> str:
    if row.over == "count":
        return "the last layer" if row.layers == 1 else f"the last {row.layers} layers"
    return f"layer {row.first}" if row.layers == 1 else f"layers {row.first} to {row.first + row.layers - 1}"
