"""The sensitivity study on the tiny model: each choice against the engine's own functions, effects by hand."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ifcore import influence, loading, lora, metrics, representations
from ifcore.gradients import example_gradients
from ifcore.gram import Gram
from ifcore.methods import METHODS
from study.chapters.sensitivity import grid, measure, show
from study.chapters.sensitivity.grid import Choice
from study.pipeline import attributions
from study.pipeline.losses import loss_batches
from tests.study.pipeline.test_attributions import make_run

SIZES = {"classes": 2, "train": 3, "val": 2, "dev": 1}


def gradients(run, tokenizer, attribution, part, loss="response", parts=None):
    base, _ = loading.load("random:tiny-llama")
    base = lora.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    model = lora.with_adapter(base, attribution.checkpoint)
    parts = parts or {part: getattr(attribution, part) for part in ("train", "val")}
    return example_gradients(model, loss_batches(model, tokenizer, parts, 2, loss)[part])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    settings = {"datasets": {"grammars_rule": SIZES}, "learning_rates": [0.001, 0.01], "epochs": [1, 2]}
    run = make_run(tmp_path_factory.mktemp("finished"), sensitivity=settings)
    return run, [(cell, grid.scores(cell)) for cell in grid.cells(run)]


def test_every_rate_and_length_has_a_fine_tune_of_its_own(finished):
    run, cells = finished
    assert [(cell.learning_rate, cell.epochs) for cell, _ in cells] == [(0.001, 1), (0.001, 2), (0.01, 1), (0.01, 2)]
    assert [cell.attribution.epoch for cell, _ in cells] == [1, 2, 1, 2]
    assert len({cell.attribution.folder for cell, _ in cells}) == 4
    losses = {cell.attribution.history.dev_loss.iloc[-1] for cell, _ in cells}
    assert len(losses) == 4


@pytest.mark.parametrize("loss", grid.LOSSES)
def test_scores_are_those_of_gradients_of_the_loss_that_is_named(finished, loss):
    run, cells = finished
    cell, scored = cells[-1]
    attribution = cell.attribution
    _, tokenizer = loading.load("random:tiny-llama")
    rows = [gradients(run, tokenizer, attribution, part, loss) for part in ("train", "val")]
    gram = Gram.from_gradients(*rows)
    for method, damping in (("gradsim", None), ("cosine", None), ("exact", 100.0), ("datainf", 0.1)):
        expected = METHODS[method].function(gram, *([] if damping is None else [damping])).numpy()
        np.testing.assert_allclose(scored[Choice(method, loss, damping=damping)], expected, rtol=1e-4, atol=1e-9)


def test_ones_own_answer_is_explained_as_if_it_were_the_response(finished):
    run, cells = finished
    cell, scored = cells[0]
    answered = grid.with_own_answers(cell.attribution)
    assert [each.response for each in answered.val] == [
        answer or each.response for answer, each in zip(cell.attribution.after, cell.attribution.val, strict=True)
    ]
    attribution = replace(cell.attribution, after=["red bike"] * len(cell.attribution.val))
    _, tokenizer = loading.load("random:tiny-llama")
    own = {"val": grid.with_own_answers(attribution).val}
    V = gradients(run, tokenizer, cell.attribution, "val", parts=own)
    expected = influence.gradsim(Gram.from_gradients(gradients(run, tokenizer, cell.attribution, "train"), V))
    scores = grid.scores(replace(cell, attribution=attribution))[Choice("gradsim", target="own")]
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-9)
    assert not np.allclose(scores, scored[Choice("gradsim")])


def test_repsim_has_every_position_and_the_prompts_end_is_chapter_threes(finished):
    _, cells = finished
    cell, scored = cells[0]
    np.testing.assert_allclose(scored[Choice("repsim", position="prompt_end")], cell.attribution.scores["repsim"])
    assert {choice.position for choice in scored if choice.method == "repsim"} == set(representations.POSITIONS)


def test_an_effect_is_the_mean_difference_of_the_metric_where_all_else_is_the_same(finished):
    run, cells = finished
    attribution = cells[0][0].attribution
    labels = [[example.label for example in part] for part in (attribution.train, attribution.val)]

    def coverage(cell, choice):
        return metrics.coverage(cells[cell][1][choice], *labels).value

    effects = measure.effects(run, cells)
    value = effects[effects.metric == "coverage"].set_index(["change", "method"]).value
    plain, cosine = Choice("gradsim"), Choice("cosine")
    expected = np.mean([coverage(cell, cosine) - coverage(cell, plain) for cell in range(4)])
    assert value["cosine", "gradsim"] == pytest.approx(expected)
    expected = np.mean([coverage(2, plain) - coverage(0, plain), coverage(3, plain) - coverage(1, plain)])
    assert value["learning rate 0.01 instead of 0.001", "gradsim"] == pytest.approx(expected)
    expected = np.mean([coverage(1, plain) - coverage(0, plain), coverage(3, plain) - coverage(2, plain)])
    assert value["2 epochs instead of 1", "gradsim"] == pytest.approx(expected)


def test_the_hub_is_the_training_example_that_tops_most_rows():
    assert measure.hub_share(np.array([[1, 2, 0], [0, 3, 1], [5, 1, 2], [0, 1, 0]])) == 0.75


def test_hubs_have_norms_and_losses_of_the_training_examples_at_each_checkpoint(finished):
    run, cells = finished
    tasks = {"mixed_small": attributions.compute_attribution(run, "mixed_small")}
    frame = measure.hubs(run, tasks, cells)
    along = frame[frame.learning_rate.isna()]
    assert list(along.epochs.unique()) == [0, 1, 3]
    assert (frame[frame.metric == "spread"].value >= 1).all()
    first, last = (along[(along.metric == "loss") & (along.epochs == epoch)].value.item() for epoch in (0, 3))
    assert first > last > 0


def ways(accuracy, coverage, right=0.9):
    where = {"dataset": "grammars_rule", "learning_rate": 1.0, "epochs": 1}
    how = {"loss": "response", "target": "reference", "damping": None, "position": None}
    rows = [
        {"method": "gradsim", "metric": metric, "value": value, **where, **how}
        for metric, value in (("accuracy", accuracy), ("coverage", coverage))
    ]
    rows += [{"method": "chance", "metric": "accuracy", "value": 0.2, **where}]
    rows += [{"method": "fine-tune", "metric": "task_accuracy", "value": right, "ci_low": right - 0.1, **where}]
    rows += [{"method": "constant", "metric": "task_accuracy", "value": 0.2, **where}]
    return pd.DataFrame(rows)


def test_the_papers_result_is_had_where_both_measures_are_within_a_tenth_of_the_way_from_chance():
    assert "1 of 1 ways tried, where the task is learnt, comes as near" in show.paper_text(ways(0.27, 0.2)).text
    for far in ((0.29, 0.2), (0.2, 0.29)):
        assert "Nothing tried here gives that where the task is learnt" in show.paper_text(ways(*far)).text


def test_a_task_that_is_not_learnt_decides_nothing_about_the_papers_result():
    text = show.paper_text(ways(0.27, 0.2, right=0.25)).text
    assert "this run decides nothing" in text
    assert text.endswith("Where it is not learnt, 1 of 1 have GradSim that near to chance.")
