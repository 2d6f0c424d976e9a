"""The gaps between methods and controls, on scores worked out by hand, and the sentences that read them."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ifcore import metrics
from ifcore.gradient_store import Store
from study import statistics
from study.chapters.controls import measure, show
from study.pipeline import attributions, baselines
from study.schema import ITSELF
from tests.study.chapters.empirical_study.test_tables import RIGHT, WRONG, ten_requests
from tests.study.pipeline.test_attributions import make_run

NOISE = {
    "tfidf": [WRONG, RIGHT],
    "tfidf_response": [WRONG, RIGHT],
    "words_response": [WRONG, RIGHT],
    "bm25": [WRONG, WRONG],
    "random": [WRONG, WRONG],
    "repsim_before": [WRONG, WRONG],
}
SCORES = {"gradsim": [WRONG, WRONG], "repsim": [RIGHT, RIGHT], **NOISE}


def attributions_of(scores=SCORES):
    return {"mixed_small": ten_requests(scores)}


def test_each_gap_is_that_of_the_metrics_and_paired():
    attribution = attributions_of()["mixed_small"]
    labels = [[example.label for example in part] for part in (attribution.train, attribution.val)]
    frame = measure.gaps({"mixed_small": attribution})
    for row in frame.itertuples():
        metric = getattr(metrics, row.metric)
        expected = metric(attribution.scores[row.method], *labels).value
        if row.against != ITSELF:
            expected -= metric(attribution.scores[row.against], *labels).value
        assert row.value == pytest.approx(expected)
    one = frame[(frame.method == "repsim") & (frame.against == "tfidf") & (frame.metric == "coverage")]
    scores = attribution.scores["tfidf"], attribution.scores["repsim"]
    expected = statistics.change(metrics.coverage, *scores, *labels)
    assert one[["value", "ci_low", "ci_high"]].to_numpy()[0] == pytest.approx(expected)


def test_repsim_is_held_against_all_and_every_method_against_the_controls():
    frame = measure.gaps(attributions_of())
    pairs = set(zip(frame.method, frame.against, strict=True))
    assert {against for method, against in pairs if method == "repsim"} == {"gradsim", *NOISE, ITSELF}
    assert {against for method, against in pairs if method == "gradsim"} == {*NOISE, ITSELF}
    assert {method for method, _ in pairs} == set(SCORES)  # a control by itself, against nothing


def test_what_beats_every_control_is_said_to_and_what_does_not_is_not(run):
    frame = measure.gaps(attributions_of()).assign(seed=0)
    text = show.controls_text(frame, attributions_of()).text
    assert "**In coverage RepSim beats every baseline in 1 of 1 data sets** (Mixed (small))." in text
    assert "No influence method beats every baseline." in text
    equal = measure.gaps(attributions_of(SCORES | {"tfidf": [RIGHT, RIGHT]})).assign(seed=0)
    text = show.controls_text(equal, attributions_of()).text
    assert "beats every baseline in 0 of 1 data sets**." in text
    assert "A baseline finds as many or more in Mixed (small) (TF-IDF: +0.0 [" in text
    wide = equal.assign(value=equal.value.where(equal.against != "tfidf", 0.1))
    assert "Its lead is unclear in Mixed (small) (TF-IDF: +10.0 [" in show.controls_text(wide, attributions_of()).text


def test_a_data_set_that_was_not_learnt_is_left_out_of_the_verdict(run):
    refused = {
        "mixed_small": replace(attributions_of()["mixed_small"], after=["I'm sorry, but I can't help with that."] * 10)
    }
    text = show.controls_text(measure.gaps(refused).assign(seed=0), refused).text
    assert text == "No task was learnt, so that labels decide nothing in this run."


def test_the_best_control_of_a_data_set_is_named_with_its_coverage(run):
    table = show.ahead_table(measure.gaps(attributions_of()).assign(seed=0), attributions_of())
    cells = {row[0]: row[1] for row in table.rows}
    assert cells["*Best baseline: coverage (%)*"] == "*TF-IDF: 50.0*"
    assert cells["RepSim"].startswith("**+50.0") and cells["GradSim"].startswith("*-50.0")


def test_several_seeds_make_one_gap_with_the_interval_over_them(run):
    frames = [
        measure.gaps({"mixed_small": replace(attributions_of()["mixed_small"])}).assign(seed=seed) for seed in range(3)
    ]
    frames[1]["value"] -= 0.2
    frame = pd.concat(frames)
    value, low, high = (100 * each for each in statistics.pooled(pd.DataFrame({"value": [0.5, 0.3, 0.5]})))
    cell = show.ahead_table(frame, attributions_of()).rows[2][1]
    assert f"{value:+.1f}" in cell and f"[{low:.1f}, {high:.1f}]" in cell
    assert np.isclose(value, 100 * 1.3 / 3)


def test_costs_are_those_of_the_records_and_of_what_lies_on_disk(tmp_path):
    run = make_run(tmp_path, datasets={"mixed_large": {"train": 2, "val": 1}})
    attribution = attributions.compute_attribution(run, "mixed_large")
    baselines.repsim_before(run, attribution)
    costs = measure.costs({"mixed_large": attribution}).set_index(["method", "metric"]).value
    records = {name: json.loads((attribution.folder / name).read_text())["seconds"] for name in RECORDS}
    assert costs["influence", "seconds"] == pytest.approx(records["gradients.json"] + records["scores.json"])
    assert costs["repsim", "seconds"] == records["before/states.json"]
    rows = len(attribution.train) + len(attribution.val)
    gradients = Store(sorted((attribution.folder / "gradients" / "val").glob("*.safetensors")))
    parameters = sum(block.shape[1] for block in gradients.values())
    assert costs["influence", "bytes"] == 4 * rows * parameters
    assert costs["repsim", "bytes"] == 4 * rows * 32  # the tiny model's width
    frame = measure.costs({"mixed_large": attribution})
    frame.loc[frame.method == "repsim", "value"] = 0.5
    frame.loc[frame.method != "repsim", "value"] = 20
    text = show.costs_text(frame).text
    assert "took 40 × as long" in text and "1.00 times as long as the fine-tune" in text and "40 × as large" in text


RECORDS = ("gradients.json", "scores.json", "before/states.json")
