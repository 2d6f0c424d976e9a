"""The further methods, computed from a run's files, against the engine's gradients."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ifcore import loading, lora
from ifcore.batches import example_batches
from ifcore.checkpoints import preconditioner
from ifcore.ekfac import ekfac, gather_factors
from ifcore.gradients import example_gradients
from study.pipeline import attributions, checkpoints, further_methods
from tests.study.pipeline.test_attributions import make_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    run = make_run(tmp_path_factory.mktemp("finished"))
    return run, attributions.compute_attribution(run, "mixed_small")


def batches(run, attribution):
    """The fine-tuned model, and batches of its training and its validation examples."""
    base, tokenizer = loading.load("random:tiny-llama")
    base = lora.with_adapter(base, run.shared / "alignment" / "adapter").merge_and_unload()
    model = lora.with_adapter(base, attribution.checkpoint)
    return model, [example_batches(model, tokenizer, part, 2) for part in (attribution.train, attribution.val)]


def gradients(run, attribution):
    model, parts = batches(run, attribution)
    return [example_gradients(model, part) for part in parts]


def test_cosine_and_adam_are_those_of_whole_gradients(finished):
    run, attribution = finished
    train, val = gradients(run, attribution)
    weight = preconditioner(attribution.checkpoint)
    scores = further_methods.further_scores(run, attribution)
    whole = [np.concatenate([part[block].double().numpy() for block in train], axis=1) for part in (train, val)]
    scale = np.concatenate([weight[block].double().numpy() for block in train])
    G, V = whole
    np.testing.assert_allclose(scores["adam"], (V * scale) @ G.T, rtol=1e-4, atol=1e-4 * np.abs(scores["adam"]).max())
    norms = np.linalg.norm(V, axis=1)[:, None] * np.linalg.norm(G, axis=1)
    np.testing.assert_allclose(scores["cosine"], V @ G.T / norms, atol=1e-4)


def test_ekfac_has_its_factors_from_the_training_examples(finished):
    run, attribution = finished
    model, parts = batches(run, attribution)
    factors = gather_factors(model, parts[0])
    expected = ekfac(*gradients(run, attribution), factors, run.profile.damping).numpy()
    scores = further_methods.further_scores(run, attribution)["ekfac"]
    np.testing.assert_allclose(scores, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_tracin_adds_up_gradsim_at_the_checkpoints_that_are_looked_at(finished):
    run, attribution = finished
    epochs = checkpoints.followed_epochs(attribution)
    rates = further_methods.spent_rates(epochs, 3, run.profile.learning_rate)
    products = [checkpoints.scores(run, attribution, epoch)["gradsim"] for epoch in epochs]
    expected = sum(rate * product for rate, product in zip(rates, products, strict=True))
    np.testing.assert_allclose(further_methods.tracin(run, attribution), expected)
    assert "tracin" in further_methods.further_scores(run, attribution)


@given(st.integers(1, 30), st.data())
def test_the_learning_rate_spent_around_all_checkpoints_is_all_that_was_spent(epochs, data):
    between = data.draw(st.sets(st.integers(0, epochs)))
    followed = sorted({0, epochs} | between)
    assert sum(further_methods.spent_rates(followed, epochs, 0.5)) == pytest.approx(0.5 * epochs / 2)


def test_a_checkpoint_between_two_has_half_of_what_is_spent_on_both_sides():
    # 4 epochs at a rate falling from 1 to 0: 0.875 + 0.625 = 1.5 spent up to epoch 2, 0.5 after it.
    assert further_methods.spent_rates([0, 2, 4], 4, 1.0) == pytest.approx([0.75, 1.0, 0.25])
