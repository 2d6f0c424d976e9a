"""Methods that read the checkpoints of a fine-tune, from gradients taken at each by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import ifcore
from ifcore import loading, lora, training
from ifcore.batches import batches
from ifcore.examples import Example
from ifcore.gradients import example_gradients
from ifcore.tokens import tokenise
from ifcore.training import Settings
from tests.ifcore.test_source import dense_scores

TRAIN = [Example(f"say {n}", "yes " * (1 + n % 3)) for n in range(5)]
VAL = [Example("say it", "yes yes"), Example("go", "no")]
SETTINGS = Settings(epochs=5, batch_size=2, learning_rate=0.01, seed=3)


@pytest.fixture(scope="module", params=[4, 5, 6])
def tuned(tmp_path_factory, request):
    """The model after so many epochs, its tokenizer, the folder, and the whole gradients [N, P], [M, P] at each."""
    model, tokenizer = loading.load("random:tiny-llama", torch.float64)
    peft, folder = lora.add_lora(model, dropout=0.0, seed=3).double(), tmp_path_factory.mktemp("run")
    settings = replace(SETTINGS, epochs=request.param)
    training.finetune(peft, tokenise(tokenizer, TRAIN), [], folder, settings, None)
    rows = []
    for epoch in range(request.param + 1):
        base, _ = loading.load("random:tiny-llama", torch.float64)
        at_epoch = lora.with_adapter(base, folder / f"epoch-0{epoch}").double()
        parts = [example_gradients(at_epoch, batches(tokenise(tokenizer, part), 2)) for part in (TRAIN, VAL)]
        rows.append([{block: part[block].double() for block in part} for part in parts])
    return peft, tokenizer, folder, rows


def scores(tuned, method, **options):
    model, tokenizer, folder, _ = tuned
    given = {"checkpoints": folder, "progress": False, **options}
    return ifcore.attribute(model, tokenizer, TRAIN, VAL, [method], **given)[method].to_numpy()


def rates(epochs):
    """The learning rate of each step; three steps an epoch."""
    return [0.01 * (1 - step / (3 * epochs)) for step in range(3 * epochs)]


@pytest.mark.parametrize("budget", ["2GiB", 1000])
def test_tracin_is_the_products_at_each_checkpoint_by_what_was_spent_around_it(tuned, budget):
    rows = tuned[3]
    spent = np.cumsum([0.0, *rates(len(rows) - 1)])[::3]
    around = np.convolve(np.diff(spent), [0.5, 0.5])
    expected = sum(
        weight * sum((V[block] @ G[block].T).numpy() for block in G)
        for weight, (G, V) in zip(around, rows, strict=True)
    )
    np.testing.assert_allclose(scores(tuned, "tracin", memory_budget=budget), expected, rtol=1e-5)


def test_adam_is_the_products_as_the_last_step_was_scaled(tuned):
    from safetensors.torch import load_file

    G, V = tuned[3][-1]
    v = load_file(tuned[2] / f"epoch-0{len(tuned[3]) - 1}" / "second_moments.safetensors")
    expected = sum((V[block] / (v[block].double().sqrt() + 1e-8)) @ G[block].T for block in G)
    np.testing.assert_allclose(scores(tuned, "adam"), expected.numpy(), rtol=1e-5)


@pytest.mark.parametrize("budget", ["2GiB", 10_000])
def test_source_has_three_segments_and_adams_scale(tuned, budget):
    from safetensors.torch import load_file

    rows, epochs = tuned[3], len(tuned[3]) - 1
    sizes = [len(part) for part in np.array_split(range(epochs), 3)]
    assert max(sizes) - min(sizes) <= 1 and sum(sizes) == epochs
    moments = [load_file(tuned[2] / f"epoch-0{n + 1}" / "second_moments.safetensors") for n in range(epochs)]
    spent, ends = np.cumsum([0.0, *rates(epochs)]), np.cumsum([0, *sizes])
    segment_rates = np.diff(spent[3 * ends])
    expected = 0.0
    for block in rows[0][0]:
        w = 1 / (torch.stack([one[block].double().sqrt() for one in moments]).mean(0) + 1e-8)
        G = torch.stack([train[block] for train, _ in rows[1:]])
        expected = expected + dense_scores(G, rows[-1][1][block], sizes, segment_rates, w)
    np.testing.assert_allclose(scores(tuned, "source", memory_budget=budget), expected.numpy(), rtol=1e-4)


def test_unrolled_of_other_rows_or_of_fewer_epochs_is_refused(tuned, tmp_path):
    import shutil

    model, tokenizer, folder, rows = tuned
    assert scores(tuned, "unrolled").shape == (2, 5)
    with pytest.raises(ValueError, match="the fine-tune, replayed, ends .* of its way from the last one"):
        ifcore.attribute(model, tokenizer, TRAIN[:3], VAL, ["unrolled"], checkpoints=folder, progress=False)
    shutil.copytree(folder, tmp_path / "stopped")
    for epoch in range(2, len(rows)):
        shutil.rmtree(tmp_path / "stopped" / f"epoch-0{epoch}")
    with pytest.raises(ValueError, match="the fine-tune, replayed"):
        scores(tuned, "unrolled", checkpoints=tmp_path / "stopped")


def test_what_a_method_needs_is_asked_for_before_anything_is_computed(tuned, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(tuned[2], tmp_path / "run")
    last = len(tuned[3]) - 1
    (tmp_path / "run" / f"epoch-0{last}" / "second_moments.safetensors").unlink()
    monkeypatch.setattr(ifcore.gradients, "stream", None)
    for method, message in (("adam", "has no second_moments"), ("source", "has no second_moments")):
        with pytest.raises(ValueError, match=message):
            scores(tuned, method, checkpoints=tmp_path / "run")
    with pytest.raises(ValueError, match="source takes .* for the products of .* gradients, of memory_budget 100 b"):
        scores(tuned, "source", memory_budget=100)
    (tmp_path / "run" / "settings.json").unlink()
    with pytest.raises(ValueError, match="has no settings.json"):
        scores(tuned, "unrolled", checkpoints=tmp_path / "run")


def test_a_call_on_the_same_store_goes_on(tuned, tmp_path):
    first = scores(tuned, "ekfac_sampled", store=tmp_path / "store", batch_size=1)
    again = scores(tuned, "ekfac_sampled", store=tmp_path / "store", batch_size=2, progress=True)
    np.testing.assert_allclose(again, first, rtol=1e-6)
