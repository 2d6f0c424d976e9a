"""Of the chapter on speed: what doesn't fit in memory, and what the paper's profile would take."""

from __future__ import annotations

from study.chapters.speed.measured import Measured
from study.report.table import Prose, Table, significant


def large_text(ours: Measured) -> Prose | None:
    """Gradients on disk that are larger than the memory that scores take. From large.csv; None without it."""
    if "large" not in ours.tables:
        return None
    row = ours.tables["large"].iloc[0]
    return Prose(
        f"Gradients larger than memory stay on disk: {row.gb:.1f} GB of them ({row.train:,.0f} + {row.val:,.0f} "
        f"examples, {row.parameters / 1e6:.1f} million parameters, as Llama-2-7B has them) become scores in "
        f"{duration(row.seconds)}, in a process of {row.gib:.2f} GiB at most, {row.gib_before:.2f} of which it has "
        "before it reads the first."
    )


def rehearsal_table(ours: Measured) -> Table | None:
    """The paper's profile at true widths, and what that tells of its depth. From rehearsal.csv; None without it."""
    if "rehearsal" not in ours.tables:
        return None
    table = ours.tables["rehearsal"]
    rows = []
    for place, row in enumerate(table.itertuples()):
        told = "*extrapolated*" if place >= len(table) - table.stage.nunique() else ""
        sizes = [row.stage, f"{row.layers:.0f}", f"{row.further_layers:.0f}"]
        rows.append([*sizes, duration(row.seconds), f"{row.gib:.1f}", f"{row.planned:.1f}", told])
    caption = (
        "The profile `paper` with random weights of the true widths, eight training examples and one epoch, from end "
        "to end: `attack`, three fine-tunes of Llama-2 and of TinyLlama and their answers, judged by a Longformer; "
        "`attribution`, gradients on disk and scores. GiB: of the process, above what it has before; planned: what "
        "`make plan` reckons with."
    )
    header = ["Part", "Layers of Llama-2", "of TinyLlama", "Time", "GiB", "Planned", ""]
    return Table(None, caption, header, rows, table)


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{significant(seconds / size)} {unit}"
    return f"{significant(seconds)} s"
