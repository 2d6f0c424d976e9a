"""Section 4.3's sentences, on frames made by hand."""

import itertools

import pandas as pd
import pytest

from study.chapters.parameter_change import measure, tables


def drift(accuracies, growths=(), seeds=1):
    """A frame of Figure 6: task accuracies at epochs 0, 1, 3, 9; growths from epoch 3 on, one a seed from 0."""
    rows = [("grammars", s, e, "task_accuracy", a) for s in range(seeds) for e, a in accuracies.items()]
    rows += [("grammars", seed, 3, "growth", growth) for seed, growth in enumerate(growths)]
    return pd.DataFrame(rows, columns=["dataset", "seed", "epoch", "metric", "value"])


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (drift({0: 0.1, 1: 0.2, 3: 0.9, 9: 0.9}, [1.2]), "at epoch 3; from there to epoch 9 ‖Δθ‖ changes by +20.0 %"),
        (
            drift({0: 0.1, 1: 0.2, 3: 0.5, 9: 0.9}),
            "measured (0, 1, 3, 9), task accuracy is at 95 % of its last only at",
        ),
        (drift({0: 0.5, 1: 0.2, 3: 0.4, 9: 0.4}), "no higher after fine-tuning than before"),
        (drift({0: 0.1, 3: 0.9, 9: 0.9}, [1.1, 1.3], seeds=3), "in 2 of 3 seeds task accuracy"),
    ],
)
def test_whether_parameters_moved_after_accuracy_settled_is_said_only_where_it_settled(frame, words):
    assert words in tables.drift_text(frame).text


@pytest.mark.parametrize(
    ("accuracies", "settled"),
    [
        ({0: 0.5, 1: 0.6, 3: 0.85, 9: 0.8, 12: 0.85}, 3),
        ({0: 0.9, 1: 0.6, 3: 0.85, 9: 1.0}, None),  # step 0 has not been trained
        ({0: 0.0, 1: 0.94, 3: 1.0}, None),
        ({0: 0.0, 1: 0.0, 3: 0.0}, None),
    ],
)
def test_accuracy_has_settled_at_the_first_trained_epoch_within_five_percent_of_its_last(accuracies, settled):
    assert measure.settled_epoch(accuracies) == settled


def graded(rates, correlation, low, high):
    """A frame of graded mixtures, with 0, 1, … harmful examples."""
    rows = [(k, metric, value) for k, rate in enumerate(rates) for metric, value in (("asr", rate), ("delta", 1 + k))]
    frame = pd.DataFrame(rows, columns=["harmful", "metric", "value"])
    row = {"metric": "spearman", "value": correlation, "ci_low": low, "ci_high": high}
    return pd.concat([frame, pd.DataFrame([row])], ignore_index=True).assign(seed=0)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (graded((0, 0.4, 0.9), 0.1, -0.3, 0.4), "follows behaviour*: it does not follow. Over the 3 adapters"),
        (graded((0, 0.4, 0.9), 0.9, 0.6, 0.95), "follows behaviour*: it follows. Over"),
        (graded((0, 0.4, 0.9), 0.5, 0.1, 0.8), "follows behaviour*: no verdict. Over"),
        (graded((0, 0.4, 0.4), 0.9, 0.6, 0.95), "there is nothing to follow"),
    ],
)
def test_distance_follows_behaviour_from_a_rank_correlation_of_one_half_where_behaviour_differs(frame, words):
    text = tables.graded_text(frame).text
    assert words in text and "between 1.00 (with 0 harmful examples) and 3.00 (with 2)" in text


def test_the_verdict_on_the_linear_models_is_on_the_change_draw_by_draw_pooled_over_seeds():
    def means(change):
        rows = []
        for seed, shift in ((0, -0.01), (1, 0.01)):
            for metric in ("pearson", "spearman"):
                for parameters, value in ((100, 0.9), (200, 0.9 + change)):
                    rows.append((parameters, seed, metric, None, value + shift, value - 0.9, value + 0.9))
                value = change + shift
                rows.append((200, seed, f"{metric}_change", None, value, value - 0.04, value + 0.04))
            for parameters in (100, 200):
                for epoch in range(2):
                    rows += [(parameters, seed, metric, epoch, epoch, 0, 0) for metric in ("delta", "test_accuracy")]
        return pd.DataFrame(rows, columns=["parameters", "seed", "metric", "epoch", "value", "ci_low", "ci_high"])

    clear, unclear, higher = (tables.linear_text(means(change)).text for change in (-0.06, -0.02, 0.05))
    assert "by rank: it weakens. The rank correlation changes by -0.06 [-0.09, -0.03]" in clear
    assert "by rank: unclear" in unclear and "by rank: it grows" in higher
    assert "The linear correlation changes by -0.06 [-0.09, -0.03]" in clear


def table6(asr, delta, steps=(30, 30, 30), seed=0):
    """A frame of Table 6 with each model's rate and place on a line."""
    names = list(measure.MODELS)
    places = dict(zip(names, zip(asr, delta, (0, *steps), strict=True), strict=True))
    rows = []
    for first, second in itertools.combinations(names, 2):
        apart = [round(abs(x - y), 9) for x, y in zip(places[first], places[second], strict=True)]
        values = dict(zip(("asr", "delta", "steps"), apart, strict=True)) | {"kl": apart[1], "kl_first": apart[1]}
        rows += [(f"{first}-{second}", seed, metric, value) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=["dataset", "seed", "metric", "value"])


def test_table_6_says_what_its_models_can_show_at_all():
    alike = tables.pairs_text(table6((0, 0, 1, 1), (0, 1, 7, 9))).text
    assert "the smallest p that these distances allow is 0.333: four models that differ so little cannot" in alike
    apart = tables.pairs_text(table6((0, 0.1, 0.3, 0.9), (0, 1, 3, 9))).text
    assert "correlation with |ΔASR| 1.00, Mantel's p = 0.042" in apart and "it follows behaviour" in apart
    same = tables.pairs_text(table6((0.5,) * 4, (0, 1, 3, 9))).text
    assert "nothing to correlate" in same
    paper = next(line for line in apart.splitlines() if "the paper's own" in line)
    assert "cannot reach p < 0.05" in paper and "p = " in paper


def test_over_seeds_table_6_goes_by_their_spread():
    def text(orders):
        frames = [table6((0, 0.1, 0.3, 0.9), order, seed=seed) for seed, order in enumerate(orders)]
        return tables.pairs_text(pd.concat(frames)).text

    assert "3 seeds" in (clear := text(([0, 1, 3, 9], [0, 1, 3, 9.5], [0, 2, 3, 9]))) and "follows behaviour" in clear
    assert "inconclusive" in text(([0, 1, 3, 9], [9, 1, 0, 3], [1, 9, 0, 2])).splitlines()[1]


def test_unequal_steps_are_named_and_called_a_confounder():
    unequal = tables.pairs_text(table6((0, 0.1, 0.3, 0.9), (0, 1, 3, 9), steps=(12, 18, 30))).text
    assert "B 12, H 18, M 30" in unequal and "confounded" in unequal
    assert "confounded" not in tables.pairs_text(table6((0, 0.1, 0.3, 0.9), (0, 1, 3, 9))).text


def figure8(losses, gain):
    """A frame of Figure 8: (layers, dev loss before, after); DataInf's coverage gain where it is not all layers."""
    rows = []
    for layers, before, after in losses:
        place = ("count", layers, 30 - layers, 0)
        rows.append((*place, "fine-tune", "dev_loss_before", before, None, None))
        rows.append((*place, "fine-tune", "dev_loss", after, 0, 0))
        rows += [(*place, "datainf", metric, 0.5, 0.4, 0.6) for metric in ("accuracy", "coverage")]
        if layers < 30:
            rows.append((*place, "datainf", "coverage_gain", gain, gain - 0.02, gain + 0.02))
    columns = ["over", "layers", "first", "seed", "method", "metric", "value", "ci_low", "ci_high"]
    return pd.DataFrame(rows, columns=columns)


def test_a_fine_tune_that_learnt_less_than_half_of_what_all_layers_do_is_in_no_verdict():
    frame = figure8([(1, 4, 3.2), (4, 4, 3.0), (30, 4, 2)], gain=0.1)
    learning = measure.learning(frame).set_index("layers")
    assert learning.share.to_dict() == pytest.approx({1: 0.4, 4: 0.5, 30: 1})
    assert learning.learnt.to_dict() == {1: False, 4: True, 30: True}
    text = tables.layers_text(frame).text
    assert "the last layer (40 %)" in text and "finds more, +10.0 [" in text
    assert (
        "finds as many, as far as can be told, +1.0 ["
        in tables.layers_text(figure8([(4, 4, 3), (30, 4, 2)], gain=0.01)).text
    )


def test_where_all_layers_learn_nothing_or_nobody_looked_there_is_no_verdict():
    for before, after in ((2, 3), (None, None)):
        frame = figure8([(1, before, after), (30, before, after)], gain=0.1)
        assert not measure.learning(frame).learnt.any()
        assert "no verdict" in tables.layers_text(frame).text
