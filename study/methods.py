"""All methods of the book: the engine's registry, the study's baselines, and a colour for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import cycle

import numpy as np

from ifcore.methods import DEFAULT, METHODS
from study.config import Run
from study.pipeline import baselines
from study.pipeline.attributions import Attribution
from study.pipeline.further_methods import further_scores


@dataclass(frozen=True)
class Baseline:
    """A score that never sees the fine-tuned model. `function` makes scores [M, N] of a run's attribution."""

    display_name: str
    function: Callable[[Run, Attribution], np.ndarray]


BASELINES = {
    "repsim_before": Baseline(display_name="RepSim before", function=baselines.repsim_before),
    "tfidf": Baseline(display_name="TF-IDF", function=baselines.tfidf_prompts),
    "tfidf_response": Baseline(display_name="TF-IDF (with response)", function=baselines.tfidf_response),
    "bm25": Baseline(display_name="BM25", function=baselines.bm25_prompts),
    "random": Baseline(display_name="Random", function=baselines.random),
}
FURTHER = tuple(key for key in METHODS if key not in DEFAULT)  # which the paper did not run
INFLUENCE = tuple(key for key, method in METHODS.items() if method.kind == "influence")
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
    "repsim_before": "#505050",
    "tfidf": "#777777",
    "tfidf_response": "#888888",
    "bm25": "#999999",
    "random": "#BBBBBB",
}
_SPARE = {False: cycle(["#882255", "#44AA99", "#999933", "#332288"]), True: cycle(["#666666", "#AAAAAA"])}
COLOURS = {key: _COLOURS.get(key) or next(_SPARE[key in BASELINES]) for key in NAMES}


def with_baselines(run: Run, attributions: Mapping[str, Attribution]) -> dict[str, Attribution]:
    """The attributions with the scores of the further methods and of the baselines after those of the profile's."""
    return {
        name: replace(
            attribution, scores=attribution.scores | further_scores(run, attribution) | _scores(run, attribution)
        )
        for name, attribution in attributions.items()
    }


def _scores(run: Run, attribution: Attribution) -> dict[str, np.ndarray]:
    return {key: baseline.function(run, attribution) for key, baseline in BASELINES.items()}
