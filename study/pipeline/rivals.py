"""An attribution beside what it is held against: further influence methods, and controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from study.config import Run
from study.pipeline.attributions import Attribution
from study.pipeline.baselines import baseline_scores
from study.pipeline.further_methods import further_scores


def with_baselines(run: Run, attributions: Mapping[str, Attribution]) -> dict[str, Attribution]:
    """The attributions with the scores of the further methods and of the controls after those of the profile's."""
    return {
        name: replace(found, scores=found.scores | further_scores(run, found) | baseline_scores(run, found))
        for name, found in attributions.items()
    }
