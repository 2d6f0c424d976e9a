"""How far each method is ahead of the others and of the controls, validation example by validation example."""

from collections.abc import Iterator, Mapping

import pandas as pd

from ifcore import io, metrics
from study import datasets, statistics
from study.methods import BASELINES
from study.pipeline import steps
from study.pipeline.attributions import Attribution, quality
from study.schema import COLUMNS, ITSELF


def gaps(attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Tidy rows: by how much `method` has more of a metric than `against`, with its 95 % interval.

    RepSim against each of the others, and each method against each control; the differences are paired by validation
    example, whose clusters are those that ask for the same. Against `ITSELF` stands the method's own value.
    """
    rows = [row for dataset, attribution in attributions.items() for row in _gap_rows(dataset, attribution)]
    return pd.DataFrame(rows, columns=[*COLUMNS, "against"])


def costs(attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Tidy rows of what scoring each data set took: metrics `seconds`, and `bytes` of what scores are computed from.

    Method `influence`: the gradients of all examples, and the scores; `repsim`: a forward pass over them, where it was
    a pass of its own, and the hidden states; `fine-tune`: the training.
    """
    rows = []
    for dataset, attribution in attributions.items():
        seconds, stores = attribution.seconds, steps.stores(attribution.folder)
        cells = [
            ("fine-tune", "seconds", seconds["fine-tune"]),
            ("influence", "seconds", seconds["gradients"] + seconds["scores"]),
            ("influence", "bytes", sum(store.nbytes for store in stores)),
            ("repsim", "bytes", sum(store.beside("prompt_end").nbytes for store in stores)),
        ]
        if record := io.read_json(attribution.folder / "before" / "states.json"):
            cells.append(("repsim", "seconds", record["seconds"]))
        rows += [(dataset, *cell, None, None, len(attribution.train), len(attribution.val)) for cell in cells]
    return pd.DataFrame(rows, columns=COLUMNS)


def _gap_rows(dataset: str, attribution: Attribution) -> Iterator[tuple]:
    for row in quality(dataset, attribution, attribution.scores):
        yield *row, ITSELF
    train, val = ([example.label for example in part] for part in (attribution.train, attribution.val))
    clusters = datasets.requests(attribution.dataset, attribution.val)
    for method in (name for name in attribution.scores if name not in BASELINES):
        for against in attribution.scores:
            if against != method and (method == "repsim" or against in BASELINES):
                for metric in (metrics.accuracy, metrics.coverage):
                    before, after = attribution.scores[against], attribution.scores[method]
                    gap = statistics.change(metric, before, after, train, val, clusters)
                    yield dataset, method, metric.__name__, *gap, len(train), len(val), against
