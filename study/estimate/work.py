"""What a run has to compute, item by item in the book's order, with its cost: the time left is estimated from it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from study import selection
from study.chapters.counterfactual import subsets
from study.chapters.sensitivity import grid
from study.config import Run
from study.estimate.costs import Costs
from study.estimate.item import Item
from study.estimate.rates import Rates, expected

SHOWING = 15.0  # seconds of a chapter's kernel and imports, and of its tables and figures

OWN = 3 * 4 * 713 * 1.5  # tokens: three fine-tunes of four epochs, always in float32

ITERATED = ("mixed_small", "mixed_large", "harmfulcheck", "grammars_rule", "mathqa")  # what section 4.1 attributes


def work(run: Run, chapters: Sequence[str], rates: Rates | None = None) -> list[Item]:
    """All that these chapters need, each item once; nothing for a chapter that is not in `NEEDS`.

    `rates`: the expected ones, unless measured. An upper bound: early stopping and the end of answers can't be
    foreseen. Nothing is downloaded or loaded.
    """
    costs = Costs(run, rates or expected(run))
    items: dict[tuple[Path, str], Item] = {}
    for chapter in chapters:
        for item in NEEDS.get(chapter, lambda _: ())(costs):
            items.setdefault((item.folder, item.stage), replace(item, chapter=chapter))
    return list(items.values())


def _compared(costs: Costs, names: Sequence[str]) -> Iterator[Item]:
    """Data sets with all methods."""
    yield from costs.attributed(names)
    yield from costs.further_methods(names)


def _parameter_change(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(selection.FOLLOWED)
    yield from costs.attacks()
    yield costs.divergence()
    yield from costs.checkpoints("answers")
    yield from costs.linear("two-layer")
    yield from costs.layers()


def _followed(costs: Costs) -> Iterator[Item]:
    yield from costs.attributed(selection.FOLLOWED)
    yield from costs.checkpoints("scores")


def _sensitivity(costs: Costs) -> Iterator[Item]:
    yield from _followed(costs)
    for dataset, _, _, varied in grid.variations(costs.run) if costs.run.profile.sensitivity else ():
        varied_costs = Costs(varied, costs.rates)
        yield from varied_costs.attributed([dataset])
        yield from varied_costs.options(dataset)


def _counterfactual(costs: Costs) -> Iterator[Item]:
    for dataset, varied in subsets.variations(costs.run) if costs.run.profile.counterfactual else ():
        if dataset in varied.profile.datasets:
            varied_costs = Costs(varied, costs.rates)
            yield from _compared(varied_costs, [dataset])
            yield from varied_costs.counterfactuals(dataset)


NEEDS: dict[str, Callable[[Costs], Iterable[Item]]] = {
    "empirical_study": lambda costs: [*_compared(costs, costs.studied), *costs.attacks()],
    "approximation_error": lambda costs: [
        *costs.attributed(ITERATED),
        *costs.linear("errors", "runtimes", "left-out"),
    ],
    "convergence": _followed,
    "parameter_change": _parameter_change,
    "controls": lambda costs: _compared(costs, costs.studied),
    "sensitivity": _sensitivity,
    "facts": lambda costs: [*_compared(costs, ["facts"]), *costs.removal()],
    "counterfactual": _counterfactual,
    "appendix_b": lambda costs: costs.attributed(selection.STUDIED),
    "your_own": lambda costs: [Item(costs.run.artifacts / "own", "fine-tunes", OWN, label="fine-tuning own")],
    "speed": lambda _: (),  # shows what make bench left
}
