"""How far each method is ahead of the others and of the controls, validation example by validation example."""

from collections.abc import Mapping

import pandas as pd

from ifcore import io, metrics
from study import datasets, selection
from study.methods import BASELINES
from study.pipeline import steps
from study.pipeline.attributions import METRICS, Attribution, Measures, change, quality, select_val
from study.schema import COLUMNS, ITSELF

AREA: Measures = {"auc": metrics.auc}


def gaps(attributions: Mapping[str, Attribution]) -> pd.DataFrame:
    """Tidy rows: by how much `method` has more of a metric than `against`, with its 95 % interval.

    RepSim against each of the others, and each method against each control; the differences are paired by validation
    example, whose clusters are those that ask for the same. Against `ITSELF` stands the method's own value. Beside
    accuracy and coverage there is the area under the curve, `auc`, and that of triggered prompts, `auc_triggered`.
    """
    rows: list[tuple] = []
    for dataset, attribution in attributions.items():
        rows += _gaps(dataset, attribution, {**METRICS, **AREA})
        triggered = [datasets.family(dataset).complies(example) for example in attribution.val]
        if dataset in selection.TRIGGERED and any(triggered):
            part = select_val(attribution, triggered)
            rows += [(*row[:2], "auc_triggered", *row[3:]) for row in _gaps(dataset, part, AREA)]
    return pd.DataFrame(rows, columns=[*COLUMNS, "against"])


def _gaps(dataset: str, attribution: Attribution, measures: Measures) -> list[tuple]:
    scores, sizes = attribution.scores, (len(attribution.train), len(attribution.val))
    rows = [(*row, ITSELF) for row in quality(dataset, attribution, scores, measures)]
    for method in (name for name in scores if name not in BASELINES):
        for against in (name for name in scores if name in BASELINES or (method == "repsim" and name != method)):
            gaps = change(dataset, attribution, scores[against], scores[method], measures)
            rows += [(dataset, method, metric, *gap, *sizes, against) for metric, gap in gaps.items()]
    return rows


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
