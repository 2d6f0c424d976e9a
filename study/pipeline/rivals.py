"""An attribution beside what it is held against: further influence methods, and controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from study.config import Run
from study.pipeline.artifact import Attribution
from study.pipeline.controls import controls
from study.pipeline.further import further


def beside(run: Run, attributions: Mapping[str, Attribution]) -> dict[str, Attribution]:
    """The attributions with the scores of the further methods and of the controls after those of the profile's."""
    return {
        name: replace(found, scores=found.scores | further(run, found) | controls(run, found))
        for name, found in attributions.items()
    }
