"""How far each method is ahead of the others and of the controls, validation example by validation example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from safetensors.torch import load_file

from ifcore import io, metrics
from study import datasets, statistics
from study.pipeline.attributions import Attribution, quality
from study.pipeline.baselines import BASELINES
from study.report.names import COLUMNS

ITSELF = "nothing"  # against nothing: a value, not a difference
_METRICS = (metrics.accuracy, metrics.coverage)


def gaps(attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Tidy rows: by how much `method` has more of a metric than `against`, with its 95 % interval.

    RepSim against each of the others, and each method against each control; the differences are paired by validation
    example, whose clusters are those that ask for the same. Against `ITSELF` stands the method's own value.
    """
    rows = [row for dataset, found in attributions.items() for row in _rows(dataset, found)]
    return pd.DataFrame(rows, columns=[*COLUMNS, "against"])


def costs(attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Tidy rows of what it took to score each data set: metrics `seconds`, and `bytes` of what is kept to score from.

    Method `influence`: the gradients of all examples, and the scores; `repsim`: a forward pass over them, where it was
    made by itself, and the hidden states; `fine-tune`: the training.
    """
    rows = []
    for dataset, found in attributions.items():
        sizes, took = (len(found.train), len(found.val)), found.seconds
        gradients = sum(file.stat().st_size for file in (found.folder / "gradients").iterdir())
        states = load_file(found.folder / "representations.safetensors")
        kept = sum(states[f"{part}.prompt_end"].nbytes for part in ("train", "val"))
        rows += [
            (dataset, "fine-tune", "seconds", took["fine-tune"], None, None, *sizes),
            (dataset, "influence", "seconds", took["gradients"] + took["scores"], None, None, *sizes),
            (dataset, "influence", "bytes", gradients, None, None, *sizes),
            (dataset, "repsim", "bytes", kept, None, None, *sizes),
        ]
        if passed := io.read_json(found.folder / "before" / "states.json"):
            rows.append((dataset, "repsim", "seconds", passed["seconds"], None, None, *sizes))
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(dataset: str, found: Attribution) -> Iterator[tuple]:
    for row in quality(dataset, found, found.scores):
        yield *row, ITSELF
    labels = [[example.label for example in part] for part in (found.train, found.val)]
    clusters = datasets.requests(found.dataset, found.val)
    for method in (name for name in found.scores if name not in BASELINES):
        for against in found.scores:
            if against != method and (method == "repsim" or against in BASELINES):
                for metric in _METRICS:
                    scores = found.scores[against], found.scores[method]
                    gap = statistics.change(metric, *scores, *labels, clusters=clusters)
                    yield dataset, method, metric.__name__, *gap, *map(len, labels), against
