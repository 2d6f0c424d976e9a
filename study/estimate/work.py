"""What a run has to compute, item by item in the book's order, with its cost: what the time left is estimated from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from study import selection
from study.chapters.counterfactual import sets
from study.chapters.sensitivity import grid
from study.config import Run
from study.estimate.costs import Costs, Item
from study.estimate.rates import Rates, expected

SHOWING = 15.0  # a chapter's kernel and imports, and its tables and figures

OWN = 3 * 4 * 713 * 1.5  # tokens: three fine-tunes of four epochs, in float32 where others are not

ITERATED = ("mixed_small", "mixed_large", "harmfulcheck", "grammars_rule", "mathqa")  # what section 4.1 attributes


def work(run: Run, chapters: Sequence[str], rates: Rates | None = None) -> list[Item]:
    """All that these chapters need, each item once. A chapter that is not known here has only its pages to show.

    `rates`: the expected ones, unless measured. An upper bound: early stopping is not foreseen, nor where answers end.
    Nothing is downloaded or loaded.
    """
    costs, found = Costs(run, rates or expected(run)), {}
    for chapter in chapters:
        for item in NEEDS.get(chapter, lambda _: ())(costs):
            found.setdefault((item.folder, item.stage), replace(item, chapter=chapter))
    return list(found.values())


def _empirical_study(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(costs.studied)
    yield from costs.rivals(costs.studied)
    yield from costs.attacks()


def _approximation_error(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(ITERATED)
    yield from costs.linear("errors", "runtimes", "left-out")


def _convergence(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(selection.FOLLOWED)
    yield from costs.checkpoints("scores")


def _parameter_change(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(selection.FOLLOWED)
    yield from costs.attacks()
    yield costs.divergence()
    yield from costs.checkpoints("answers")
    yield from costs.linear("two-layer")
    yield from costs.layers()


def _controls(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(costs.studied)
    yield from costs.rivals(costs.studied)


def _sensitivity(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(selection.FOLLOWED)
    yield from costs.checkpoints("scores")
    for dataset, _, _, varied in grid.variations(costs.run) if costs.run.profile.sensitivity else ():
        of = Costs(varied, costs.rates)
        yield from of.attributed([dataset])
        yield from of.options(dataset)


def _facts(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(["facts"])
    yield from costs.rivals(["facts"])
    yield from costs.removal()


def _counterfactual(costs: Costs) -> Iterator[Item]:
    for dataset, varied in sets.variations(costs.run) if costs.run.profile.counterfactual else ():
        if dataset not in varied.profile.datasets:
            continue
        of = Costs(varied, costs.rates)
        yield from of.attributed([dataset])
        yield from of.rivals([dataset])
        yield from of.counterfactuals(dataset)


def _appendix_b(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(selection.STUDIED)


def _your_own(costs: Costs) -> Iterator[Item]:
    yield Item(costs.run.artifacts / "own", "fine-tunes", OWN, label="fine-tuning own")


NEEDS: dict[str, Callable[[Costs], Iterable[Item]]] = {
    "empirical_study": _empirical_study,
    "approximation_error": _approximation_error,
    "convergence": _convergence,
    "parameter_change": _parameter_change,
    "controls": _controls,
    "sensitivity": _sensitivity,
    "facts": _facts,
    "counterfactual": _counterfactual,
    "appendix_b": _appendix_b,
    "your_own": _your_own,
    "speed": lambda _: (),  # shows what make bench left
}
