"""Whether a run can start: what can be seen to be wrong is reported before anything long begins."""

from study import datasets
from study.chapters.counterfactual import measure as counterfactual
from study.chapters.sensitivity import grid
from study.claims.claims import named_method
from study.config import Run
from study.datasets import alignment, digits
from study.methods import COMPUTED
from study.pipeline import base_model, classifier, model_sources, requested_examples
from study.pipeline.attack import PARTS
from study.pipeline.task import Task, batch_size

OPTIONAL = ("grammars",)  # the chapters show its released form, grammars_rule, and this one where it is sized


def check(run: Run) -> None:
    """Raise ValueError, in one line, for a model, a source, a size or a name that the run could not use."""
    base_model.resolved_precision(run.profile.precision)
    sources = run.profile.model, *run.profile.further_models, run.profile.generator
    for model in filter(None, map(run.located, sources)):
        model_sources.check(model)
        if model.startswith("hub:"):
            model_sources.identity(model)  # whether it can be had shows here, not after the first model's fine-tunes
    if run.judge != "refusal":
        classifier.check(run.judge)
    if settings := run.profile.alignment:
        alignment.examples(settings.refusals, settings.benign, settings.alike)
        alignment.held_out(settings.held_out), alignment.lookalikes(settings.held_out)
    for dataset in run.profile.datasets:
        requested_examples.requested_split(run, dataset)
    if "mixed_small" in run.profile.datasets:
        for only in PARTS.values():
            batch_size(Task(run, "mixed_small", only))  # raises where a part of Table 1 has no equal steps
    for dataset in datasets.NAMES:
        if run.source(dataset) and dataset not in run.profile.datasets:
            problem = f"{run.source(dataset)!r}; {run.profile.name} has no sizes for {dataset}"
            raise ValueError(f"{dataset}_source: {problem}; give them under datasets or leave the source out")
    for dataset, _, _, varied in grid.variations(run) if run.profile.sensitivity else ():
        requested_examples.requested_split(varied, dataset)
    if chosen := run.profile.counterfactual:
        for dataset, varied in counterfactual.variations(run):
            if dataset not in varied.profile.datasets:
                continue  # the whole book needs it, see check_book
            split = requested_examples.requested_split(varied, dataset)
            try:
                counterfactual.plan(varied, dataset, [example.label for example in split.train])
            except ValueError as error:
                raise ValueError(f"counterfactual: {dataset}: {error}") from error
        if unknown := [name for name in chosen.by or () if name not in COMPUTED]:
            raise ValueError(f"counterfactual.by: {unknown[0]!r}; choose from {', '.join(COMPUTED)}")
        if absent := [name for name in (named_method(), "repsim") if name not in (chosen.by or COMPUTED)]:
            raise ValueError(f"counterfactual.by: no {absent[0]}; add it, claims are about it")
        if unknown := [name for name in chosen.retrainings if name not in chosen.datasets]:
            raise ValueError(f"counterfactual.retrainings: {unknown[0]!r}; choose from {', '.join(chosen.datasets)}")
    if run.profile.layers_on not in run.profile.datasets:
        raise ValueError(f"layers_on: {run.profile.layers_on!r}; choose from {', '.join(run.profile.datasets)}")
    if not (run.digits or "").startswith("hub:"):
        most, points = max(*run.profile.linear.points, run.profile.linear.left_out), run.profile.two_layer.points
        for train, test in ((most, most), (points, points // 2)):
            digits.draw(run.digits, train, test, None, run.seed)


def check_book(run: Run) -> None:
    """The same for the whole book, whose chapters need every data set that is not optional."""
    check(run)
    if names := unsized_datasets(run):
        needed = f"the book's chapters need all but {', '.join(OPTIONAL)}"
        raise ValueError(f"datasets: no sizes for {', '.join(names)}; {needed}")
    next(grid.variations(run)), next(counterfactual.variations(run))
    if "repsim" not in run.profile.methods:
        raise ValueError(f"methods: {', '.join(run.profile.methods)}; the book's chapters compare repsim, name it too")


def unsized_datasets(run: Run) -> list[str]:
    """The data sets that the book's chapters need and the profile does not size."""
    return [name for name in datasets.NAMES if name not in (*run.profile.datasets, *OPTIONAL)]
