"""How far each method is ahead of the others and of the controls, validation example by validation example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from ifcore import metrics
from ifcore.study import data, statistics
from ifcore.study.runs.artifact import Attribution, quality
from ifcore.study.runs.controls import CONTROLS
from ifcore.study.show.names import COLUMNS

ITSELF = "nothing"  # against nothing: a value, not a difference
_METRICS = (metrics.accuracy, metrics.coverage)


def gaps(attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Tidy rows: by how much `method` has more of a metric than `against`, with its 95 % interval.

    RepSim against each of the others, and each method against each control; the differences are paired by validation
    example, whose clusters are those that ask for the same. Against `ITSELF` stands the method's own value.
    """
    rows = [row for dataset, found in attributions.items() for row in _rows(dataset, found)]
    return pd.DataFrame(rows, columns=[*COLUMNS, "against"])


def _rows(dataset: str, found: Attribution) -> Iterator[tuple]:
    for row in quality(dataset, found, found.scores):
        yield *row, ITSELF
    labels = [[example.label for example in part] for part in (found.train, found.val)]
    clusters = data.requests(found.dataset, found.val)
    for method in (name for name in found.scores if name not in CONTROLS):
        for against in found.scores:
            if against != method and (method == "repsim" or against in CONTROLS):
                for metric in _METRICS:
                    scores = found.scores[against], found.scores[method]
                    gap = statistics.change(metric, *scores, *labels, clusters=clusters)
                    yield dataset, method, metric.__name__, *gap, *map(len, labels), against
