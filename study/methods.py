"""All methods of the book: the engine's registry, the study's baselines, and a colour for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np

from ifcore.methods import DEFAULT, METHODS
from study import selection
from study.config import Run
from study.pipeline import baselines, checkpoints
from study.pipeline.attributions import Attribution, compute_attribution
from study.pipeline.further_methods import further_scores
from study.pipeline.gate import check_gate


@dataclass(frozen=True)
class Baseline:
    """A score that never sees the fine-tuned model. `function` makes scores [M, N] of a run's attribution."""

    display_name: str
    colour: str
    function: Callable[[Run, Attribution], np.ndarray]


BASELINES = {
    "repsim_before": Baseline("RepSim before", "#505050", baselines.repsim_before),
    "tfidf": Baseline("TF-IDF", "#777777", baselines.tfidf_prompts),
    "tfidf_response": Baseline("TF-IDF (with response)", "#888888", baselines.tfidf_response),
    "bm25": Baseline("BM25", "#999999", baselines.bm25_prompts),
    "random": Baseline("Random", "#BBBBBB", baselines.random),
}
FURTHER = tuple(key for key in METHODS if key not in DEFAULT)  # which the paper did not run
INFLUENCE = tuple(key for key, method in METHODS.items() if method.kind == "influence")
NOT_COMPUTED = ("ekfac_sampled", "rept", "source", "unrolled")  # which no chapter shows
COMPUTED = tuple(key for key in (*METHODS, *BASELINES) if key not in NOT_COMPUTED)
NAMES = {key: row.display_name for key, row in (METHODS | BASELINES).items()}  # in the order of rows

# The first five, which share figures, are Okabe and Ito's, for colour-blind readers. Baselines are grey.
_COLOURS = {
    "repsim": "#0072B2",
    "gradsim": "#E69F00",
    "datainf": "#009E73",
    "lissa": "#CC79A7",
    "exact": "#D55E00",
    "cosine": "#A6761D",
    "relatif": "#56B4E9",
    "adam": "#7A378B",
    "ekfac": "#3B7A57",
    "tracin": "#000000",
}
_SPARE = cycle(["#882255", "#44AA99", "#999933", "#332288"])
COLOURS = {key: _COLOURS.get(key) or next(_SPARE) for key in METHODS}
COLOURS |= {key: baseline.colour for key, baseline in BASELINES.items()}


def attribute(run: Run, dataset: str) -> None:
    """Make what the chapters read of a data set: scores of all methods, and of the checkpoints that are followed."""
    attribution = with_baselines(run, {dataset: compute_attribution(run, dataset)})[dataset]
    for epoch in checkpoints.followed_epochs(attribution) if dataset in selection.FOLLOWED else ():
        checkpoints.scores(run, attribution, epoch), checkpoints.answers(run, attribution, epoch)
    if dataset == "mixed_small":
        check_gate(run)


def with_baselines(run: Run, attributions: Mapping[str, Attribution]) -> dict[str, Attribution]:
    """The attributions with the scores of the further methods and of the baselines after those of the profile's."""
    complete = {}
    for name, attribution in attributions.items():
        scores = attribution.scores | further_scores(run, attribution)
        scores |= {key: baseline.function(run, attribution) for key, baseline in BASELINES.items()}
        complete[name] = replace(attribution, scores=scores)
    return complete
