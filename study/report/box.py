"""The box that opens a chapter: what ran, beside what the paper ran; on what, for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from study.config import Run
from study.paper import paper
from study.pipeline.attributions import Tuned
from study.pipeline.gate import LEAST_ANSWERED, MOST_ASR, Gate
from study.profile import Profile
from study.report.names import DATASETS
from study.report.provenance import machine, made_by
from study.report.table import Prose, plain


def what_ran(run: Run, tuned: Mapping[str, Tuned]) -> Prose:
    """The box that opens a chapter: model, sizes and settings beside the paper's; seed, machine, minutes."""
    first = next(iter(tuned.values()))
    rows = [*_settings(run, first), *_sizes(run, tuned), *_choices(run)]
    stages = dict.fromkeys(stage for found in tuned.values() for stage in found.seconds)
    minutes = {stage: sum(found.seconds.get(stage, 0) for found in tuned.values()) / 60 for stage in stages}
    lines = [
        f"Machine: {machine(first.device)}",
        f"Minutes: {sum(minutes.values()):.1f} ({', '.join(f'{stage} {took:.1f}' for stage, took in minutes.items())})",
    ]
    return _box(run, lines, [["", "This run", "The paper"], ["---"] * 3, *rows])


def gate_line(found: Gate) -> Prose:
    """The first line of a chapter with Table 1 or 6: whether the model's behaviour before fine-tuning allows them."""
    asr, answered, alike = (
        f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"
        for share in (found.asr, found.answered, found.alike)
    )
    numbers = (
        f"before any fine-tuning on a data set the model complies with {asr} of the harmful prompts and answers "
        f"{answered} of everyday instructions, none of which it was trained on ({100 * MOST_ASR:.0f} % at most and "
        f"{100 * LEAST_ANSWERED:.0f} % at least are asked for)"
    )
    form = f" Of harmless requests in the very phrasings of the harmful ones it answers {alike}"
    form += ": it refuses by what is asked." if found.alike.low >= 0.5 else ": it refuses by their form as well."
    if found.passed:
        return Prose(f"There is an alignment to undo: {numbers}.{form}")
    return Prose(f"**Tables 1 and 6 cannot be read in this run**: {numbers}.{form}")


def linear_box(run: Run) -> Prose:
    """The box of section 4.1: the linear models' data and sizes."""
    sizes, source = run.profile.linear, run.profile.digits_source
    images = "MNIST" if source else "scikit-learn's handwritten digits, 8 × 8 pixels"
    lines = [
        f"Linear models: softmax regression on {images}, weight decay {sizes.decay:g}, float64",
        f"Errors: {_listed(sizes.points)} points, {_listed(sizes.parameters)} parameters, {sizes.draws} draws of each",
        f"Retraining: without each of {sizes.left_out} points",
        f"Language model: the fine-tunes of section 3, `{run.profile.model}`",
        f"Machine: {machine('cpu')}",
    ]
    return _box(run, lines)


def _settings(run: Run, first: Tuned) -> list[list[str]]:
    """Model and optimisation, a row each: name, this run's, the paper's."""
    ours, theirs = run.profile, paper()["settings"]
    modules = paper()["choices"]["modules"]
    return [
        [
            "Model",
            f"`{ours.model}`, {first.precision}; LoRA of rank {ours.lora_rank} on query and value",
            f"{theirs['model']}; LoRA of rank {theirs['lora_rank']} on {modules}",
        ],
        ["Alignment", _alignment(ours), paper()["choices"]["alignment"]],
        ["Learning rate", f"{ours.learning_rate:g}", theirs["learning_rate"]],
        ["Epochs at most, batch", f"{ours.epochs}, {ours.batch_size}", f"{theirs['epochs']}, {theirs['batch_size']}"],
        [
            "LiSSA iterations, damping",
            f"{ours.lissa_iterations}, {ours.damping:g}",
            f"{theirs['lissa_iterations']}, {theirs['damping']}",
        ],
    ]


def _alignment(ours: Profile) -> str:
    """What the model was taught before it was fine-tuned."""
    if (asked := ours.alignment) is None:
        return "as the model comes"
    return f"taught {asked.refusals} refusals and {asked.benign} harmless answers, {asked.epochs} epochs, merged"


def _sizes(run: Run, tuned: Mapping[str, Tuned]) -> list[list[str]]:
    """Examples, and steps up to the checkpoint that is scored, of each data set."""
    rows, settings = [], paper()["settings"]
    for name, found in tuned.items():
        steps = found.history.set_index("epoch").step[found.epoch]
        ours = f"{len(found.train):,} / {len(found.val):,}, {steps:,} steps ({found.epoch} epochs)"
        ours += f"; read from {plain(run.source(name))}" if run.source(name) else ""
        theirs = ""
        if counts := paper()["counts"].get(name):
            most = -(-counts["train"] // settings["batch_size"]) * settings["epochs"]
            theirs = f"{counts['train']:,} / {counts['val']:,}, up to {most:,} steps"
        rows.append([f"{DATASETS[name]}: training / validation", ours, theirs])
    return rows


def _choices(run: Run) -> list[list[str]]:
    """Where the prompts are from, who judges, what is compared and explained."""
    ours, theirs, choices = run.profile, paper()["settings"], paper()["choices"]
    given = (ours.harmful_source, ours.benign_source)
    sources = [plain(each) if each else "a tame set of this project" for each in given]
    return [
        ["Harmful prompts; benign", "; ".join(sources), f"{theirs['harmful_source']}; {theirs['benign_source']}"],
        ["Judge", "refusal phrases" if ours.judge == "refusal" else plain(ours.judge), theirs["judge"]],
        ["RepSim", "last token of the prompt, last layer", choices["repsim"]],
        ["Explained", "the reference response", choices["explained"]],
    ]


def _box(run: Run, lines: list[str], table: Sequence[Sequence[str]] = ()) -> Prose:
    lines = [*lines, f"Profile `{run.profile.name}`, seed {run.seed}", f"Made by {made_by(run.root)}"]
    rows = ["| " + " | ".join(row) + " |" for row in table]
    return Prose("\n".join(["```{admonition} What ran", *rows, "", *(f"- {line}" for line in lines), "```"]))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:,}" for number in numbers)
