"""Section 4.3's table, with the paper's numbers beside the run's, and the sentences that read it and the figures."""

import pandas as pd
from scipy import stats

from study import statistics
from study.chapters.parameter_change.measure import MODELS, correlations, learning
from study.config import Run
from study.methods import NAMES
from study.paper import paper
from study.report.names import DATASETS
from study.report.results import save_table
from study.report.table import Prose, Table, difference_verdict, interval, points, significant, with_published

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
        lines[0] += " ‖Δθ‖ grows with steps, whatever they teach, so here it is confounded with them."
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
            f"The largest ΔASR here is {wide.asr.max() * 100:.0f} points, in the paper "
            f"{max(pair['asr'] for pair in paper()['table6'].values()):.0f}: no two models here behave as differently "
            "as the argument needs. Table 1 has the rates themselves."
        )
    return _bullets(lines)


def drift_text(frame: pd.DataFrame) -> Prose:
    """Whether parameters keep moving after behaviour has settled, as Figure 6 has it."""
    groups = frame.groupby("dataset", sort=False)
    return _bullets([f"{DATASETS[dataset]}: {_drift_sentence(part)}" for dataset, part in groups])


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
    for metric in ("pearson", "spearman"):
        parts = [means[(means.parameters == size) & (means.metric == metric)] for size in sizes]
        parts.append(means[means.metric == f"{metric}_change"])
        *estimates, change = (statistics.mean_over_seeds(part.value, part.ci_low, part.ci_high) for part in parts)
        by_size = (f"{value:.2f}{interval(max(low, -1), min(high, 1))}" for value, low, high in estimates)
        lines.append(
            f"*The correlation weakens as the number of parameters grows*, {metric.capitalize()}: "
            f"{difference_verdict(*change[1:], 'does not hold here', 'holds here')}. From {sizes[0]:,} to "
            f"{sizes[-1]:,} parameters it changes by {change[0]:+.2f}{interval(*change[1:])}, draw by draw; size by "
            f"size it is {', '.join(by_size)}."
        )
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
    cell = write(rows.value.mean() * scale) + ("" if pd.isna(spread) else f" ± {write(spread)}")
    return with_published(cell, rows, write=lambda value: write(value * scale))


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
    verdict = "it follows behaviour" if row.p <= 0.05 else "inconclusive"
    if row.smallest > 0.05:
        verdict = "inconclusive, as it would be however the models were labelled"
    return (
        f"Rank correlation with |ΔASR| {row.value:.2f}, Mantel's p = {row.p:.3f}; the smallest p that these distances "
        f"allow is {row.smallest:.3f}: {verdict}."
    )


def _drift_sentence(part: pd.DataFrame) -> str:
    wide = part.pivot_table(index="epoch", columns="metric", values="value")
    if "dev_loss" not in wide:
        return "without dev examples there is no loss to tell when learning is done."
    start, losses, last = wide.dev_loss[0], wide.dev_loss.loc[1:], wide.index.max()
    lowest = losses.min()
    if lowest >= start:
        return "the dev loss never falls below that before fine-tuning."
    settled = losses.index[losses <= lowest + 0.1 * (start - lowest)][0]
    line = f"nine tenths of the fall of the dev loss have happened by epoch {settled}, and its lowest is at "
    line += str(losses.idxmin())
    if settled == last:
        return f"{line}, the last: it had not settled when training ended, so there is nothing to see after."
    rho = stats.spearmanr(wide.index, wide.delta).statistic
    line += f". From epoch {settled} to {last} ‖Δθ‖ goes from {wide.delta[settled]:.2f} to {wide.delta[last]:.2f} "
    line += f"(rank correlation with the epoch {rho:.2f})"
    after = wide.task_accuracy.dropna().loc[settled:]
    if len(after) > 1:
        line += f", task accuracy from {after.iloc[0] * 100:.0f} to {after.iloc[-1] * 100:.0f} %"
    return f"{line}."


def _gains_text(gains: pd.DataFrame) -> str:
    """Whether any influence method gains coverage, and of how many choices of layers each method does."""
    parts, improved = [], False
    for method in ("datainf", "gradsim", "exact", "repsim"):
        choices = gains[gains.method == method].groupby(["layers", "first"])
        estimates = [statistics.pooled(rows) for _, rows in choices]
        verdicts = [difference_verdict(low, high, "better", "worse") for _, low, high in estimates]
        improved |= method != "repsim" and "better" in verdicts
        if estimates:
            counts = f"better in {verdicts.count('better')} and worse in {verdicts.count('worse')} of {len(verdicts)}"
            parts.append(f"{NAMES[method]} is {counts}, at best by {points(*max(estimates))}")
    if not parts:
        return "no such fine-tune has learnt the task."
    return f"{'does not hold here' if improved else 'no improvement is shown here'}. {'; '.join(parts)}."


def _layers(row) -> str:
    if row.over == "count":
        return "the last layer" if row.layers == 1 else f"the last {row.layers} layers"
    return f"layer {row.first}" if row.layers == 1 else f"layers {row.first} to {row.first + row.layers - 1}"
