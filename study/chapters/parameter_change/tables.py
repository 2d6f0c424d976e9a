"""Section 4.3's table, with the paper's numbers beside ours, and the sentences that read it and the figures."""

from __future__ import annotations

import pandas as pd
from scipy import stats

from study import statistics
from study.chapters.parameter_change.measure import MODELS, correlations, learning
from study.config import Run
from study.paper import paper
from study.report.names import DATASETS, NAMES
from study.report.results import save_table
from study.report.table import Prose, Table, decided, interval, points, significant, with_published


def pairs_table(run: Run, frame: pd.DataFrame) -> Table:
    """Table 6: how far each pair of models is apart, in three ways. Leaves table6_delta.csv."""
    frame = save_table(run, "table6_delta", frame)
    several = frame.seed.nunique() > 1
    rows = []
    for pair, part in frame.groupby("dataset", sort=False):
        cells = []
        for metric in ("asr", "delta", "delta_unscaled", "kl", "kl_first"):
            each, scale = part[part.metric == metric], 100 if metric == "asr" else 1
            write = _points if metric == "asr" else _plain
            over_seeds = several and not metric.startswith("delta")  # whose spread is over LoRA modules
            spread = (each.value.std() if over_seeds else (each.value - each.ci_low).mean()) * scale
            cell = write(each.value.mean() * scale)
            cell += "" if pd.isna(spread) else f" ± {write(spread)}"
            cells.append(with_published(cell, each, write=lambda value, s=scale, w=write: w(value * s)))
        printed = paper()["table6"][pair]
        cells += [f"*{printed['asr']:.2f}*", f"*{printed['delta']:.2f} ± {printed['sd']:.2f}*"]
        rows.append([" vs ".join(MODELS[name] for name in pair.split("-")), *cells])
    over = f"over {frame.seed.nunique()} seeds" if several else "half the 95 % interval over prompts"
    caption = (
        "How far models are apart: in attack success rate (percentage points), in parameters (mean ± s.d. over LoRA "
        "modules of the norm of the difference of their updates, with the scaling α/r and without), and in what they "
        f"say (KL divergence in nats; ±: {over}). O: the original model; B, H, M: fine-tuned on the benign, the "
        f"harmful and all examples of the small mixture. Optimiser steps: {_steps_said(frame)}. In italics, "
        "the paper's."
    )
    ours = ["ΔASR", "‖Δθ‖", "‖Δθ‖ unscaled", "KL, prompt", "KL, first token"]
    return Table("tab-delta", caption, ["Pair", *ours, "*ΔASR*", "*‖Δθ‖ unscaled*"], rows, frame)


def pairs_text(frame: pd.DataFrame) -> Prose:
    """Whether distance in parameters, or in predictions, follows behaviour over the pairs of Table 6."""
    wide = frame.pivot_table(index="dataset", columns="metric", values="value", sort=False)
    found = correlations(frame)
    lines = [f"- {_steps_text(frame)}"]
    for metric, name in (("delta", "‖Δθ‖"), ("kl", "KL over the prompt"), ("kl_first", "KL at the first token")):
        spread = wide[metric].max() / wide[metric].min()
        line = f"- {name}: over the {len(wide)} pairs the largest is {spread:.1f} times the smallest. "
        lines.append(line + _mantel_text(found[found.metric == metric]))
    printed = pd.DataFrame(paper()["table6"]).T.rename_axis("dataset")
    printed = printed[["asr", "delta"]].melt(ignore_index=False, var_name="metric").reset_index().assign(seed=0)
    lines.append(f"- ‖Δθ‖ in the paper's own six pairs. {_mantel_text(correlations(printed))}")
    near, far = wide.loc["harmful-mixed"], wide.loc["benign-mixed"]
    lines.append(
        f"- The pair H, M, two models that both saw harmful examples, against B, M: ‖Δθ‖ {near.delta:.2f} against "
        f"{far.delta:.2f}, a ratio of {near.delta / far.delta:.2f}; KL at the first token "
        f"{significant(near.kl_first)} against {significant(far.kl_first)}, a ratio of "
        f"{near.kl_first / far.kl_first:.2f}."
    )
    if wide.asr.max() < 0.5:
        lines.append(
            f"- The largest ΔASR here is {wide.asr.max() * 100:.0f} points, in the paper "
            f"{max(pair['asr'] for pair in paper()['table6'].values()):.0f}: no two models here behave as differently "
            "as the argument needs. Table 1 has the rates themselves."
        )
    return Prose("\n".join(lines))


def drift_text(frame: pd.DataFrame) -> Prose:
    """Whether parameters keep moving after behaviour has settled, as Figure 6 has it."""
    lines = []
    for dataset, part in frame.groupby("dataset", sort=False):
        wide = part.pivot_table(index="epoch", columns="metric", values="value")
        if "dev_loss" not in wide:
            lines.append(f"- {DATASETS[dataset]}: without dev examples there is no loss to tell when learning is done.")
            continue
        trained = wide.loc[1:]
        best = trained.dev_loss.idxmin()
        lowest = trained.dev_loss.min()
        if lowest >= wide.dev_loss[0]:
            lines.append(f"- {DATASETS[dataset]}: the dev loss never falls below that before fine-tuning.")
            continue
        settled = trained.index[trained.dev_loss <= lowest + 0.1 * (wide.dev_loss[0] - lowest)][0]
        last = wide.index.max()
        rho = stats.spearmanr(wide.index, wide.delta).statistic
        line = (
            f"- {DATASETS[dataset]}: nine tenths of the fall of the dev loss have happened by epoch {settled}, "
            f"and its lowest is at {best}"
        )
        if settled == last:
            lines.append(f"{line}, the last: it had not settled when training ended, so there is nothing to see after.")
            continue
        line += (
            f". From epoch {settled} to {last} ‖Δθ‖ goes from {wide.delta[settled]:.2f} to "
            f"{wide.delta[last]:.2f} (rank correlation with the epoch {rho:.2f})"
        )
        known = wide.task_accuracy.dropna()
        after = known[known.index >= settled]
        if len(after) > 1:
            line += f", task accuracy from {after.iloc[0] * 100:.0f} to {after.iloc[-1] * 100:.0f} %"
        lines.append(line + ".")
    return Prose("\n".join(lines))


def linear_text(means: pd.DataFrame) -> Prose:
    """Whether the correlation of ‖Δθ‖ and accuracy falls with the number of parameters, as Figure 7 has it."""
    sizes = sorted(means.parameters.unique())
    lines = []
    saturated = []
    for parameters in (sizes[0], sizes[-1]):
        along = means[means.parameters == parameters].pivot_table(index="epoch", columns="metric", values="value")
        accuracy = along.test_accuracy
        near = accuracy.index[accuracy >= accuracy[0] + 0.9 * (accuracy.max() - accuracy[0])][0]
        saturated.append(
            f"with {parameters:,} parameters after epoch {near:.0f}, when ‖Δθ‖ is at {along.delta[near] * 100:.0f} % "
            "of its last"
        )
    lines.append(f"- Nine tenths of the rise in accuracy have happened {'; '.join(saturated)}.")
    for metric in ("pearson", "spearman"):
        found = [means[(means.parameters == size) & (means.metric == metric)] for size in sizes]
        found.append(means[means.metric == f"{metric}_change"])
        *found, change = (statistics.mean_over_seeds(each.value, each.ci_low, each.ci_high) for each in found)
        lines.append(
            f"- *The correlation weakens as the number of parameters grows*, {metric.capitalize()}: "
            f"{decided(*change[1:], 'does not hold here', 'holds here')}. From {sizes[0]:,} to {sizes[-1]:,} "
            f"parameters it changes by {change[0]:+.2f}{interval(*change[1:])}, draw by draw; size by size it is "
            + ", ".join(f"{value:.2f}{interval(max(low, -1), min(high, 1))}" for value, low, high in found)
            + "."
        )
    return Prose("\n".join(lines))


def layers_text(frame: pd.DataFrame) -> Prose:
    """Whether the number or the place of the layers with LoRA changes what the methods find, as Figure 8 has it."""
    found = learning(frame)
    if found.share.isna().all():
        return Prose(
            "- The dev loss does not say which of these fine-tunes learnt the task: there are no dev examples, or it "
            "did not fall with LoRA on all layers either. So there is no verdict."
        )
    lines = []
    if not found.learnt.all():
        said = (f"{_where(row)} ({row.share * 100:.0f} %)" for row in found[~found.learnt].itertuples())
        lines.append(
            "- Hollow, and left out below, because the dev loss fell by less than half of its fall with LoRA on all "
            f"layers: {', '.join(said)}."
        )
    gains = frame.merge(found[found.learnt])
    for over, what in (("count", "the last layers only"), ("window", "a window of layers")):
        part = gains[(gains.over == over) & (gains.metric == "coverage_gain")]
        said, improved = [], 0
        for method in ("datainf", "gradsim", "exact", "repsim"):
            settings = part[part.method == method].groupby(["layers", "first"])
            pooled = [statistics.over_seeds(each.value, each.ci_low, each.ci_high) for _, each in settings]
            better, worse = (
                [decided(*gain[1:], "better", "worse") for gain in pooled].count(word) for word in ("better", "worse")
            )
            improved += better if method != "repsim" else 0
            if pooled:
                said.append(
                    f"{NAMES[method]} is better in {better} and worse in {worse} of {len(pooled)}, at best by "
                    f"{points(*max(pooled))}"
                )
        verdict = "does not hold here" if improved else "no improvement is shown here"
        lines.append(
            f"- *No choice of layers improves influence functions*, coverage with {what} against all of them: "
            + (f"{verdict}. {'; '.join(said)}." if said else "no such fine-tune has learnt the task.")
        )
    return Prose("\n".join(lines))


def _steps(frame: pd.DataFrame) -> dict[str, list[int]]:
    """B, H and M, and the numbers of optimiser steps that they had in the seeds."""
    part = frame[frame.metric == "steps"].groupby("dataset").value
    return {MODELS[name]: sorted(part.get_group(f"original-{name}").astype(int).unique()) for name in list(MODELS)[1:]}


def _steps_said(frame: pd.DataFrame) -> str:
    """`B 12, H 18, M 30`."""
    return ", ".join(f"{name} {' or '.join(map(str, steps))}" for name, steps in _steps(frame).items())


def _steps_text(frame: pd.DataFrame) -> str:
    """Whether B, H and M were fine-tuned for as long as each other, and so whether ‖Δθ‖ can be compared."""
    if len(set(map(tuple, _steps(frame).values()))) == 1:
        return f"The fine-tuned models had the same number of optimiser steps: {_steps_said(frame)}."
    return (
        f"The fine-tuned models had unequal numbers of optimiser steps: {_steps_said(frame)}. ‖Δθ‖ grows with steps, "
        "whatever they teach, so here it is confounded with them."
    )


def _mantel_text(found: pd.DataFrame) -> str:
    """The rank correlation with |ΔASR| and its verdict: by Mantel's test for one seed, by the interval over several."""
    known = found.dropna()
    if known.empty:
        return "It, or |ΔASR|, is the same for all pairs, so there is nothing to correlate."
    if len(known) > 1:
        mean, low, high = statistics.over_seeds(known.value, [], [])
        return (
            f"Rank correlation with |ΔASR| over {len(known)} seeds {mean:.2f}{interval(low, high)}: "
            f"{decided(low, high, 'it follows behaviour in these four models', 'it runs against behaviour')}."
        )
    (row,) = known.itertuples()
    line = (
        f"Rank correlation with |ΔASR| {row.value:.2f}, Mantel's p = {row.p:.3f}; the smallest p that these distances "
        f"allow is {row.smallest:.3f}: "
    )
    if row.smallest > 0.05:
        return line + "inconclusive, as it would be however the models were labelled."
    return line + ("it follows behaviour." if row.p <= 0.05 else "inconclusive.")


def _points(value: float) -> str:
    return f"{value:.1f}"


def _plain(value: float) -> str:
    """Two decimals, or what they would make nothing of."""
    return f"{value:.2f}" if abs(value) >= 0.05 or value == 0 else significant(value)


def _where(row) -> str:
    """Which layers had LoRA."""
    last = row.first + row.layers - 1
    if row.over == "count":
        return "the last layer" if row.layers == 1 else f"the last {row.layers} layers"
    return f"layer {last}" if row.layers == 1 else f"layers {row.first} to {last}"
