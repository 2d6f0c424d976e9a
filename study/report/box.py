"""The line that opens a chapter, over a fold: what this run computed, beside what the paper did."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from study.config import Run
from study.paper import paper
from study.pipeline.attributions import Tuned
from study.pipeline.gate import LEAST_ANSWERED, MOST_ASR, Gate
from study.report.names import ALIGNED, DATASETS, model_name
from study.report.provenance import machine, provenance_line
from study.report.published import published_words
from study.report.table import Prose, fold, plain


def what_ran(run: Run, tuned: Mapping[str, Tuned]) -> Prose:
    """One line with the model, the data sets, the seed and the minutes, over a fold with all settings."""
    stages = dict.fromkeys(stage for tune in tuned.values() for stage in tune.seconds)
    minutes = {stage: sum(tune.seconds.get(stage, 0) for tune in tuned.values()) / 60 for stage in stages}
    lines = [
        f"Machine: {machine(next(iter(tuned.values())).device)}",
        f"Minutes: {sum(minutes.values()):.1f} ({', '.join(f'{stage} {time:.1f}' for stage, time in minutes.items())})",
    ]
    count = f"{len(tuned)} data set{'s' * (len(tuned) > 1)}"
    title = f"{_model(run)}; {count}, {sum(minutes.values()):.0f} minutes"
    return _box(run, title, lines, _rows(run, tuned))


def what_ran_in_full(run: Run, tuned: Mapping[str, Tuned]) -> Prose:
    """The settings and sizes of all data sets beside the paper's, as a table."""
    return Prose("\n".join("| " + " | ".join(row) + " |" for row in _rows(run, tuned)))


def gate_line(gate: Gate) -> Prose:
    """Whether the model behaved before fine-tuning as Tables 1 and 6 need; the first line of their chapters."""
    asr, answered, alike = (
        f"{100 * share.value:.1f} % [{100 * share.low:.1f}, {100 * share.high:.1f}]"
        for share in (gate.asr, gate.answered, gate.alike)
    )
    verdict = "There is an alignment to undo" if gate.passed else "**Tables 1 and 6 cannot be read in this run**"
    ending = "" if gate.alike.low >= 0.5 else ", so that it refuses by their form as well"
    return Prose(
        f"{verdict}: before fine-tuning the model complies with {asr} of the harmful prompts "
        f"({100 * MOST_ASR:.0f} % at most are asked for) and answers {answered} of everyday instructions "
        f"({100 * LEAST_ANSWERED:.0f} % at least), all of them unseen. Of harmless requests in the phrasings of the "
        f"harmful ones it answers {alike}{ending}."
    )


def linear_box(run: Run) -> Prose:
    """The box of section 4.1: the linear models' data and sizes."""
    sizes = run.profile.linear
    images = "MNIST" if run.profile.digits_source else "scikit-learn's handwritten digits, 8 × 8 pixels"
    points, parameters = (", ".join(f"{size:,}" for size in axis) for axis in (sizes.points, sizes.parameters))
    lines = [
        f"Linear models: softmax regression on {images}, weight decay {sizes.decay:g}, float64",
        f"Errors: {points} points, {parameters} parameters, {sizes.draws} draws of each",
        f"Retraining: without each of {sizes.left_out} points",
        f"Language model: the fine-tunes of section 3, {_model(run)}",
        f"Machine: {machine('cpu')}",
    ]
    return _box(run, f"linear models of {max(sizes.points)} points at most, on {images}", lines)


def _model(run: Run) -> str:
    return model_name(run.profile.model + (ALIGNED if run.profile.alignment else ""))


def _rows(run: Run, tuned: Mapping[str, Tuned]) -> list[list[str]]:
    profile, settings = run.profile, SimpleNamespace(**paper()["settings"])
    choices, precision = paper()["choices"], next(iter(tuned.values())).precision
    model = f"{model_name(profile.model)}, {precision}; LoRA of rank {profile.lora_rank} on query and value"
    paper_model = f"{settings.model}; LoRA of rank {settings.lora_rank} on {choices['modules']}"
    alignment = "as the model comes"
    if taught := profile.alignment:
        alignment = f"taught {taught.refusals} refusals and {taught.benign + taught.alike} harmless answers"
        alignment += f", {taught.epochs} epochs, merged"
    epochs, lissa = f"{profile.epochs}, {profile.batch_size}", f"{profile.lissa_iterations}, {profile.damping:g}"
    sources = (profile.harmful_source, profile.benign_source)
    prompts = "; ".join(plain(source) if source else "a tame set of this project" for source in sources)
    return [
        ["", "This run", "The paper"],
        ["---"] * 3,
        ["Model", model, paper_model],
        ["Alignment", alignment, choices["alignment"]],
        ["Learning rate", f"{profile.learning_rate:g}", settings.learning_rate],
        ["Epochs at most, batch", epochs, f"{settings.epochs}, {settings.batch_size}"],
        ["LiSSA iterations, damping", lissa, f"{settings.lissa_iterations}, {settings.damping}"],
        *(_size_row(run, name, tune) for name, tune in tuned.items()),
        ["Harmful prompts; benign", prompts, f"{settings.harmful_source}; {settings.benign_source}"],
        ["Judge", "refusal phrases" if profile.judge == "refusal" else plain(profile.judge), settings.judge],
        ["RepSim", "last token of the prompt, last layer", choices["repsim"]],
        ["Explained", "the reference response", choices["explained"]],
    ]


def _size_row(run: Run, name: str, tune: Tuned) -> list[str]:
    """A data set's examples, and the steps up to the checkpoint that is scored."""
    steps = tune.history.set_index("epoch").step[tune.epoch]
    size = f"{len(tune.train):,} / {len(tune.val):,}, {steps:,} steps ({tune.epoch} epochs)"
    size += f"; read from {plain(run.source(name))}" if run.source(name) else ""
    settings, paper_size = paper()["settings"], ""
    if counts := paper()["counts"].get(name):
        most = -(-counts["train"] // settings["batch_size"]) * settings["epochs"]
        paper_size = f"{counts['train']:,} / {counts['val']:,}, up to {most:,} steps"
    return [f"{DATASETS[name]}: training / validation", size, paper_size]


def _box(run: Run, title: str, lines: list[str], table: Sequence[Sequence[str]] = ()) -> Prose:
    lines = [*lines, f"Profile `{run.profile.name}`, seed {run.seed}", f"Made by {provenance_line(run.root)}"]
    lines += [f"Small and grey in tables: published values, {words}"] if (words := published_words(run)) else []
    rows = ["| " + " | ".join(row) + " |" for row in table]
    content = "\n".join([*rows, "", *(f"- {line}" for line in lines)]).strip()
    return Prose(fold(content, f"What ran: {title}, seed {run.seed}"))
