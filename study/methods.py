"""All methods of the book: the engine's registry, the study's baselines, and a colour for each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np

from ifcore.methods import DEFAULT, METHODS
from study import selection
from study.config import Run
from study.pipeline import baselines, checkpoints, further_methods
from study.pipeline.attributions import Attribution, compute_attribution
from study.pipeline.further_methods import further_scores
from study.pipeline.gate import check_gate


@dataclass(frozen=True)
class Row:
    """A row beside the engine's methods. `function` makes scores [M, N] of a run's attribution."""

    display_name: str
    colour: str
    function: Callable[[Run, Attribution], np.ndarray]


BASELINES = {
    "repsim_before": Row("RepSim before", "#505050", baselines.repsim_before),
    "tfidf": Row("TF-IDF", "#777777", baselines.tfidf_prompts),
    "tfidf_response": Row("TF-IDF (with response)", "#888888", baselines.tfidf_response),
    "words_response": Row("TF-IDF (response)", "#909090", baselines.words_response),
    "bm25": Row("BM25", "#999999", baselines.bm25_prompts),
    "random": Row("Random", "#BBBBBB", baselines.random),
}
BESIDE = {  # computed only where models are retrained: baselines, and methods read another way
    "gradsim_before": Row("GradSim before", "#5A5A5A", partial(baselines.before, "gradsim")),
    "embedding_prompt": Row("Embedding (prompt)", "#6A6A6A", partial(baselines.by_texts, "embedding_prompt")),
    "embedding_response": Row("Embedding (response)", "#727272", partial(baselines.by_texts, "embedding_response")),
    "length": Row("Length", "#A0A0A0", partial(baselines.by_texts, "length")),
    "own_loss": Row("Own loss before", "#A8A8A8", partial(baselines.before, "losses")),
    "gradient_norm": Row("Gradient norm before", "#B0B0B0", partial(baselines.before, "norms")),
}
READINGS = {
    "repsim_last": Row("RepSim (response's end)", "#4A90C2", partial(further_methods.repsim_at, "last")),
    "repsim_prompt": Row("RepSim (prompt's mean)", "#77ADD3", partial(further_methods.repsim_at, "prompt_mean")),
    "repsim_response": Row("RepSim (response's mean)", "#A4CAE3", partial(further_methods.repsim_at, "response_mean")),
    "rept": Row("RepT", "#332288", further_methods.rept),
    "lissa_once": Row("LiSSA (1 iteration)", "#E2B5D0", further_methods.lissa_once),
}
CONTROLS = {**BASELINES, **BESIDE}  # all that never see the fine-tuned model
OF_TEXTS = ("tfidf", "tfidf_response", "words_response", "bm25", "embedding_prompt", "embedding_response", "length")
FURTHER = tuple(key for key in METHODS if key not in DEFAULT)  # which the paper did not run
INFLUENCE = tuple(key for key, method in METHODS.items() if method.kind == "influence")
NOT_COMPUTED = ("ekfac_sampled", "rept", "source", "unrolled")  # which no chapter but that on counterfactuals shows
COMPUTED = tuple(key for key in (*METHODS, *BASELINES) if key not in NOT_COMPUTED)
ORACLE = "oracle"  # removes examples of the class that is explained, at random
LEFT_OUT = "left_out"  # the rise of the loss without an example: what scores predict, where it is measured
ROWS: dict[str, Any] = METHODS | {key: row for key, row in READINGS.items() if key not in METHODS} | CONTROLS
NAMES = {key: row.display_name for key, row in ROWS.items()} | {LEFT_OUT: "Leaving one out"}  # in the order of rows

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
COLOURS = {key: _COLOURS.get(key) or getattr(row, "colour", None) or next(_SPARE) for key, row in ROWS.items()}
COLOURS[LEFT_OUT] = "#8B0000"


def attribute(run: Run, dataset: str) -> None:
    """Make what the chapters read of a data set: scores of all methods, and of the checkpoints that are followed."""
    attribution = with_baselines(run, {dataset: compute_attribution(run, dataset)})[dataset]
    for epoch in checkpoints.followed_epochs(attribution) if dataset in selection.FOLLOWED else ():
        checkpoints.scores(run, attribution, epoch), checkpoints.answers(run, attribution, epoch)
    if dataset == "mixed_small":
        check_gate(run)
    retrained = run.profile.counterfactual.datasets if run.profile.counterfactual else {}
    if dataset in retrained and retrained[dataset] is None:  # else its chapter has it in other sizes
        with_readings(run, attribution)


def with_baselines(run: Run, attributions: Mapping[str, Attribution]) -> dict[str, Attribution]:
    """The attributions with the scores of the further methods and of the baselines after those of the profile's."""
    complete = {}
    for name, attribution in attributions.items():
        scores = attribution.scores | further_scores(run, attribution) | _scores(BASELINES, run, attribution)
        complete[name] = replace(attribution, scores=scores)
    return complete


def with_readings(run: Run, attribution: Attribution) -> Attribution:
    """The same with those of READINGS and BESIDE."""
    return replace(attribution, scores=attribution.scores | _scores(READINGS | BESIDE, run, attribution))


def _scores(rows: Mapping[str, Row], run: Run, attribution: Attribution) -> dict[str, np.ndarray]:
    return {key: row.function(run, attribution) for key, row in rows.items()}
