"""The jobs of a run: what is computed below its chapters, each job by one process.

A job calls the functions that the chapters call, which then find everything made. Nothing is loaded to list them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from math import ceil

from study import datasets, selection
from study.chapters.approximation_error import errors, truth
from study.chapters.counterfactual import measure as counterfactual
from study.chapters.facts import measure as facts
from study.chapters.parameter_change import graded
from study.chapters.parameter_change import measure as parameter_change
from study.chapters.sensitivity import grid
from study.config import Run
from study.methods import attribute
from study.pipeline import alignment, attributions, retraining
from study.pipeline.architectures import architecture
from study.pipeline.attack import PARTS
from study.pipeline.task import Task

ALIGNMENT, LINEAR = "alignment", "linear models"
JOINED = 1_200  # passes up to which small jobs are joined: of two minutes of the default model, 5 % are the start
ITERATED = ("mixed_small", "mixed_large", "harmfulcheck", "grammars_rule", "mathqa")  # what section 4.1 attributes

# In passes: an example once forward and backward. Measured with the default model.
FORWARD, ANSWER, SECOND = 0.4, 1.5, 8.0  # SECOND: what is done in one


@dataclass(frozen=True)
class Job:
    """What some `computations` make and the `chapters` then find, once the jobs that `after` names are done.

    `parts`: part of the study -> data set -> passes of its examples through the profile's model.
    """

    name: str
    computations: tuple[partial, ...]
    chapters: frozenset[str]
    parts: dict[str, dict[str, float]]
    after: frozenset[str] = frozenset()

    def compute(self) -> None:
        for computation in self.computations:
            computation()

    @property
    def modules(self) -> set[str]:
        """The modules whose functions it calls."""
        return {computation.func.__module__ for computation in self.computations}

    @property
    def passes(self) -> float:
        return sum(chain.from_iterable(by_dataset.values() for by_dataset in self.parts.values()))


def list_jobs(run: Run) -> list[Job]:
    """All jobs of the book's chapters, each after those that it needs."""
    aligned = list(_alignment(run))
    lists = _attributions, _attacks, _graded, _layers, _sensitivity, _facts, _counterfactuals
    following = [job for jobs in lists for job in jobs(run)]
    after = frozenset(job.name for job in aligned)
    return _join([*aligned, *_linear(run), *(replace(job, after=job.after | after) for job in following)])


def _alignment(run: Run) -> Iterator[Job]:
    if settings := run.profile.alignment:
        passes = (
            1.2 * settings.epochs * (settings.refusals + settings.benign + settings.alike)
        )  # LoRA on all linear maps
        compute = partial(alignment.aligned_adapter, run, Task(run, "mixed_small").precision)
        yield Job(ALIGNMENT, (compute,), frozenset(), {"alignment": {ALIGNMENT: passes}})


def _linear(run: Run) -> Iterator[Job]:
    """The linear models, which no model is needed for: in passes that take as long."""
    approximation, change, sizes = "approximation_error", "parameter_change", run.profile.linear
    drawn = sizes.draws * (len(sizes.points) + len(sizes.parameters)) * max(sizes.parameters)
    trained = run.profile.two_layer.draws * len(run.profile.two_layer.widths) * run.profile.two_layer.epochs
    for name, compute, chapter, seconds in (
        ("errors", errors.errors, approximation, 15 * drawn / 7e6),
        ("running-times", errors.runtimes, approximation, 25 * sizes.dense_limit / 10_000),
        ("left-out", truth.left_out, approximation, 25 * sizes.left_out / 200),
        ("two-layer", parameter_change.linear_models, change, 12 * trained / 4_800),
    ):
        yield Job(name, (partial(compute, run),), frozenset([chapter]), {"linear models": {LINEAR: SECOND * seconds}})


def _attributions(run: Run) -> Iterator[Job]:
    """From examples to the scores of all methods and baselines, at all checkpoints that are looked at."""
    for name in run.profile.datasets:
        task = Task(run, name)
        passes = _attributed(task)
        if name in selection.FOLLOWED:
            passes += (len(selection.epochs(task.epochs)) - 1) * (_count(task, "train", "val") + _answers(task))
        yield Job(name, (partial(attribute, run, name),), _readers(run, name), {"attributions": {name: passes}})


def _readers(run: Run, dataset: str) -> frozenset[str]:
    """The chapters that read the attribution of a data set."""
    plan = run.profile.counterfactual
    readers = {
        ("empirical_study", "controls", "appendix_b"): dataset in selection.STUDIED,
        ("approximation_error",): dataset in ITERATED,
        ("convergence", "parameter_change", "sensitivity"): dataset in selection.FOLLOWED,
        ("facts",): dataset == "facts",
        ("counterfactual",): plan is not None and plan.datasets.get(dataset, False) is None,
    }
    return frozenset(chain.from_iterable(chapters for chapters, reads in readers.items() if reads))


def _attacks(run: Run) -> Iterator[Job]:
    """The fine-tunes of Table 1 beside the attribution, and the distances of Table 6 between them."""
    if "mixed_small" not in run.profile.datasets:
        return
    chapters, shape = frozenset(["empirical_study", "parameter_change"]), architecture(run.located(run.profile.model))
    for model in (None, *run.profile.further_models):
        other = architecture(run.located(model)) if model else shape
        scale = other.weights / shape.weights if other and shape else 1.0
        for only in PARTS.values():
            task = Task(run, "mixed_small", only=only, model=model)
            if model or only:
                passes = scale * (_fine_tune(task) + (1 if only else 2) * _answers(task))
                yield Job(
                    task.name, (partial(attributions.tune, task),), chapters, {"attacks": {"mixed_small": passes}}
                )
    passes = 10 * FORWARD * _count(Task(run, "mixed_small"), "val")  # four models, and six pairs of distributions
    parts = [Task(run, "mixed_small", only=only).name for only in PARTS.values()]
    compute = partial(parameter_change.pairs, run)
    yield Job(
        "table6", (compute,), frozenset(["parameter_change"]), {"attacks": {"mixed_small": passes}}, frozenset(parts)
    )


def _graded(run: Run) -> Iterator[Job]:
    """Fine-tunes on graded mixtures, and their answers."""
    if graded.DATASET not in run.profile.datasets:
        return
    whole = Task(run, graded.DATASET)
    trained = whole.epochs * graded.size(run) + FORWARD * (whole.epochs + 1) * _count(whole, "dev")
    passes = trained + _answers(whole) * min(1, graded.PROMPTS / _count(whole, "val"))
    for harmful in graded.grades(run):
        compute, parts = partial(graded.fit, run, harmful), {"graded mixtures": {graded.DATASET: passes}}
        yield Job(f"graded-{harmful}", (compute,), frozenset(["parameter_change"]), parts)


def _layers(run: Run) -> Iterator[Job]:
    """Fine-tunes with LoRA on some layers; none for a model whose layers are not known here."""
    shape = architecture(run.located(run.profile.model))
    total, dataset = shape.layers if shape else 0, run.profile.layers_on
    chosen = {tuple(layers) for _, layers in (selection.layers(total) if total else ()) if len(layers) < total}
    for layers in sorted(chosen) if dataset in run.profile.datasets else ():
        task, share = Task(run, dataset, layers=layers), 1 - layers[0] / total
        passes = (FORWARD + (1 - FORWARD) * share) * (_fine_tune(task) + _count(task, "train", "val"))
        compute = partial(attributions.scored, task)
        yield Job(task.name, (compute,), frozenset(["parameter_change"]), {"layers": {dataset: passes}})


def _sensitivity(run: Run) -> Iterator[Job]:
    for dataset, rate, epochs, varied in grid.variations(run) if run.profile.sensitivity else ():
        task = Task(varied, dataset)
        passes = _fine_tune(task) + 2 * _answers(task) + 4 * _count(task, "train", "val")
        compute, name = partial(grid.compute, dataset, rate, epochs, varied), f"{dataset}-{rate:g}-{epochs}"
        yield Job(name, (compute,), frozenset(["sensitivity"]), {"sensitivity": {dataset: passes}})


def _facts(run: Run) -> Iterator[Job]:
    if "facts" in run.profile.datasets:
        tasks = facts.removed(run, _count(Task(run, "facts"), "train"))
        yield from _retrained(tasks, "facts", "facts", run)


def _counterfactuals(run: Run) -> Iterator[Job]:
    chapters = frozenset(["counterfactual"])
    for dataset, varied in counterfactual.variations(run) if run.profile.counterfactual else ():
        if dataset not in varied.profile.datasets:
            continue  # the book's check says so
        task, attributed = Task(varied, dataset), dataset
        if varied.part:
            attributed = f"{varied.part}-{dataset}"
            parts = {"counterfactuals": {dataset: _attributed(task)}}
            yield Job(attributed, (partial(counterfactual.attributed, varied, dataset),), chapters, parts)
        size = _count(task, "train")
        known, decided = counterfactual.passes(varied, size, task.epochs, dataset)
        name = f"{varied.part}-{dataset}" if varied.part else dataset
        yield from _batches(varied, f"{name}-halves", counterfactual.retrain, known, dataset)
        if dataset == counterfactual.REMOVED_FROM and (count := counterfactual.settings(run).unrolled):
            passes = task.epochs * size * (4 + count)
            compute = partial(counterfactual.unroll, varied, dataset)
            yield Job(
                f"{name}-unrolled",
                (compute,),
                chapters,
                {"counterfactuals": {dataset: passes}},
                frozenset([attributed]),
            )
        yield from _batches(varied, f"{name}-removal", counterfactual.retrain_removals, decided, dataset, attributed)


def _batches(
    run: Run, name: str, retrain: Callable[..., None], passes: float, dataset: str, *after: str
) -> Iterator[Job]:
    """The fine-tunes of a bank, as many jobs as there are whole ones of JOINED passes in them."""
    batches = ceil(passes / JOINED)
    for number in range(batches):
        compute, parts = (
            partial(retrain, run, dataset, number, batches),
            {"counterfactuals": {dataset: passes / batches}},
        )
        yield Job(f"{name}-{number + 1}", (compute,), frozenset(["counterfactual"]), parts, frozenset(after))


def _retrained(tasks: Iterable[Task], chapter: str, part: str, run: Run) -> Iterator[Job]:
    for task in tasks:
        passes = _fine_tune(task) + FORWARD * _count(task, "val")
        name = f"{run.part}-{task.name}" if run.part else task.name
        yield Job(name, (partial(retraining.losses, task),), frozenset([chapter]), {part: {task.dataset: passes}})


def _attributed(task: Task) -> float:
    """From examples to scores, with the answers before and after."""
    return _fine_tune(task) + 2 * _answers(task) + 1.5 * _count(task, "train", "val")


def _fine_tune(task: Task) -> float:
    return task.epochs * _count(task, "train") + FORWARD * (task.epochs + 1) * _count(task, "dev")


def _answers(task: Task) -> float:
    return ANSWER * task.run.profile.max_new_tokens / 32 * _count(task, "val")


def _count(task: Task, *parts: str) -> int:
    """Examples of these parts; of training and dev examples, those of the task."""
    sizes, total = task.run.profile.datasets[task.dataset], 0
    for part in parts:
        source = task.run.source(task.dataset)
        counts = datasets.class_counts(task.dataset, part, getattr(sizes, part), sizes.classes, source)
        total += sum(n for label, n in counts.items() if part == "val" or task.only in (None, label))
    return total - (len(task.left_out) if "train" in parts else 0)


def _join(jobs: Iterable[Job]) -> list[Job]:
    """Jobs that come after the same ones, joined while they are small; the alignment, which all wait for, is alone."""
    groups: list[list[Job]] = []
    for job in jobs:
        fitting = (
            group
            for group in groups
            if group[0].after == job.after
            and ALIGNMENT not in (group[0].name, job.name)
            and sum(other.passes for other in group) + job.passes <= JOINED
        )
        if (group := next(fitting, None)) is None:
            groups.append([job])
        else:
            group.append(job)
    names = {job.name: _joined_name(group) for group in groups for job in group}
    return [
        Job(
            _joined_name(group),
            tuple(chain.from_iterable(job.computations for job in group)),
            frozenset().union(*(job.chapters for job in group)),
            _added(group),
            frozenset(names[name] for name in group[0].after),
        )
        for group in groups
    ]


def _joined_name(group: list[Job]) -> str:
    return group[0].name if len(group) == 1 else f"{group[0].name}+{len(group) - 1}"


def _added(group: list[Job]) -> dict[str, dict[str, float]]:
    parts: dict[str, dict[str, float]] = {}
    for job in group:
        for part, by_dataset in job.parts.items():
            passes = parts.setdefault(part, {})
            for dataset, count in by_dataset.items():
                passes[dataset] = passes.get(dataset, 0.0) + count
    return parts
