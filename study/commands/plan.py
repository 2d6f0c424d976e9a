"""What a profile would run, and for how long: `python -m study.commands.plan PROFILE.yaml`; no model is needed."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from study import config, datasets, selection
from study.chapters.parameter_change import graded
from study.chapters.sensitivity import grid
from study.commands import work_plan
from study.commands.check import unsized_datasets
from study.commands.contents import notebook_names
from study.commands.error_lines import one_line_errors
from study.config import Run
from study.estimate import durations, speed
from study.estimate.counting import source_file, tokenizer_of
from study.estimate.durations import Duration
from study.estimate.jobs import list_jobs
from study.estimate.memory import JUDGE_WEIGHTS, Size, disk, located_profile, memory, size_of
from study.pipeline import base_model
from study.pipeline.architectures import Architecture, architecture
from study.profile import Profile

GATED = ("hub:meta-llama/",)
BUSY = 0.5  # cores that others use, from which on no speed is measured


def plan(run: Run) -> str:
    """The resolved configuration, the data, and estimates of tokens, memory and disk, as plain text."""
    profile = located_profile(run)
    tokenizer = tokenizer_of(profile.model)
    sizes = {name: size_of(run, name, tokenizer) for name in profile.datasets}
    parts = [_configuration(run), _data(run, sizes, exact=tokenizer is not None), _models(profile)]
    if shape := architecture(profile.model):
        variations = grid.variations(run) if profile.sensitivity else ()
        cells = [(size_of(varied, dataset, tokenizer), epochs) for dataset, _, epochs, varied in variations]
        parts += [memory(profile, shape, sizes), disk(profile, shape, sizes, cells), _section_4(profile, shape)]
    else:
        parts.append([f"Memory: the sizes of {profile.model} are not known here"])
    return "\n\n".join("\n".join(lines) for lines in parts)


def minutes(run: Run) -> str:
    """How long the whole book takes with nothing made yet, part by part, as plain text: recorded or computed."""
    if names := unsized_datasets(run):
        return f"No estimate of minutes: the book's chapters need sizes for {', '.join(names)} too"
    if architecture(run.located(run.profile.model)) is None:
        return f"No estimate of minutes: the sizes of {run.profile.model} are not known here"
    (rate, told), chapters = _speed(run), notebook_names(run.root)
    expected = durations.expected_durations(run, rate, chapters)
    parts, recorded = part_seconds(run, expected)
    parts |= {"chapters": sum(expected[name].seconds for name in chapters)}
    recorded |= {"chapters"} if any(expected[name].is_recorded for name in chapters) else set()
    lines = [told, "Minutes of a core, with nothing made yet" if on_cpu() else "Minutes, with nothing made yet"]
    for name, part in parts.items():
        lines.append(f"  {name:<37} {part / 60:>7.1f}  {'recorded' if name in recorded else 'computed'}")
    total, cores = sum(parts.values()), (psutil.cpu_count() or 1) if on_cpu() else 1
    lines.append(f"  {'together':<37} {total / 60:>7.1f}")
    clock = total / cores + work_plan.PAGES
    hours = f" ({clock / 3600:,.0f} hours)" if clock > 3 * 3600 else ""
    lines.append(f"  {f'by the clock, {cores} at a time, about':<37} {clock / 60:>7.1f}{hours}")
    if recorded:
        scaled = "as on the machine that made it" if rate is None else "at this machine's speed"
        lines.append(f"  recorded: with what is published of {run.profile.name}, {scaled}")
    left_out = ["installation", "downloads", *(["the generator's answers"] if run.profile.generator else [])]
    left_out += ["the judge"] if run.profile.judge != "refusal" else []
    return "\n".join([*lines, f"  Not counted: {', '.join(left_out)}"])


def part_seconds(run: Run, expected: Mapping[str, Duration]) -> tuple[dict[str, float], set[str]]:
    """Part of the study -> seconds of all jobs for it, a job's seconds going by its passes; and which are recorded."""
    parts, recorded = dict[str, float](), set[str]()
    for job in list_jobs(run):
        for part, by_dataset in job.parts.items():
            seconds = expected[job.name].seconds * sum(by_dataset.values()) / job.passes
            parts[part] = parts.get(part, 0.0) + seconds
            recorded |= {part} if expected[job.name].is_recorded else set()
    return parts, recorded


def on_cpu() -> bool:
    return base_model.device() == "cpu"


def _speed(run: Run) -> tuple[float | None, str]:
    """Tokens a second, None while the machine is busy, and the line that says so."""
    if on_cpu() and (cores := speed.cores_in_use()) > BUSY:
        busy = f"The machine is busy: other programs use {cores:.1f} cores. Its speed is not measured"
        return None, f"{busy}, but taken as recorded: {speed.recorded_speed(run):,.0f} tokens a second."
    rate = speed.measured_speed(run)
    where = f"{base_model.resolved_precision(run.profile.precision)}, {'one core' if on_cpu() else 'on the GPU'}"
    return rate, f"Measured now ({where}): {rate:,.0f} tokens a second, forward and backward"


def _configuration(run: Run) -> list[str]:
    settings = run.profile.settings
    width = max(map(len, settings))
    lines = [f"  {key:<{width}}  {value}" for key, value in settings.items()]
    return [f"Profile {run.profile.name}, seed {run.seed}", *lines]


def _data(run: Run, sizes: dict[str, Size], exact: bool) -> list[str]:
    profile = run.profile
    header = f"{'Data set':<14}{'classes':>8}{'train':>7}{'val':>6}{'tokens/epoch':>14}{'longest':>9}"
    lines = [f"{header}  train + val of each class"]
    for name, size in sizes.items():
        classes = len(datasets.select_classes(name, profile.datasets[name].classes, run.source(name)))
        cells = f"{name:<14}{classes:>8}{size.train:>7}{size.val:>6}{size.epoch:>14,}{size.longest:>9,}"
        lines.append(f"{cells}  {_class_sizes(run, name)}")
    lines.append(
        f"  Tokens: {'counted with the tokenizer of ' + profile.model if exact else 'estimated from the characters'}"
        + (f"; a generated response taken as {profile.max_new_tokens}" if profile.generator else "")
    )
    for kind in ("harmful", "benign"):
        source = getattr(profile, f"{kind}_source")
        note = "the embedded tame set" if source is None else source
        if source is not None and source_file(run, kind) is None:
            where = "on the hub" if source.startswith("hub:") else "not there yet"
            note += f", {where}: counted above with the embedded set, whose texts may be shorter"
        lines.append(f"  {kind.capitalize()} examples: {note}")
    lines += [f"  {name}: {run.source(name)}, in the released format" for name in sizes if run.source(name)]
    return lines


def _models(profile: Profile) -> list[str]:
    models = [("model", profile.model), *(("further model", source) for source in profile.further_models)]
    models += [("generator", profile.generator)] if profile.generator else []
    lines = [f"{'Model':<44}{'as':<15}{'parameters':>15}{'LoRA P':>12}"]
    for role, source in models:
        shape = architecture(source)
        lora = "" if role == "generator" else f"{shape.lora(profile.lora_rank):,}" if shape else "?"
        lines.append(f"{source:<44}{role:<15}{f'{shape.weights:,}' if shape else '?':>15}{lora:>12}")
    if profile.judge != "refusal":
        lines.append(f"{profile.judge:<44}{'judge':<15}{JUDGE_WEIGHTS:>15,.0f}")
    gated = sorted({source for _, source in models if source.startswith(GATED)})
    return lines + [f"  {source} is gated: accept its licence on its page, then `hf auth login`" for source in gated]


def _section_4(profile: Profile, shape: Architecture) -> list[str]:
    tunes = {tuple(layers) for _, layers in selection.layers(shape.layers) if len(layers) < shape.layers}
    followed = "; ".join(
        f"{name} {', '.join(map(str, selection.epochs(profile.datasets[name].epochs or profile.epochs)))}"
        for name in selection.FOLLOWED
        if name in profile.datasets
    )
    return [
        "Section 4, beside the linear models",
        f"  {len(tunes)} more fine-tunes of {profile.layers_on}, with LoRA on some of the layers",
        f"  {graded.GRADES} on parts of {graded.DATASET}, from no harmful example to nothing else",
        f"  gradients and answers after epochs: {followed}",
    ]


def _class_sizes(run: Run, name: str) -> str:
    sizes, source = run.profile.datasets[name], run.source(name)
    labels = datasets.select_classes(name, sizes.classes, source)
    train, val = (
        datasets.class_counts(name, part, getattr(sizes, part), sizes.classes, source) for part in ("train", "val")
    )
    pairs = [(train[label], val[label]) for label in labels]
    if len(set(pairs)) == 1:
        return "{} + {} each".format(*pairs[0])
    return ", ".join(f"{label} {train} + {val}" for label, (train, val) in zip(labels, pairs, strict=True))


@one_line_errors
def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m study.commands.plan", description=__doc__)
    parser.add_argument("profile", type=Path, help="a profile's YAML file")
    run = config.make_run(parser.parse_args().profile.stem)
    print(plan(run), flush=True)  # measuring takes seconds
    print(f"\n{minutes(run)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
