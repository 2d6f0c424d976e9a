"""Gradients on disk: what is read back, and which shards are written again."""

from pathlib import Path

import pytest
import torch
from peft.tuners.lora import LoraLayer

from ifcore import gradient_store, gradients, io, representations
from ifcore.batches import batches, example_batches
from ifcore.gram import Gram
from ifcore.losses import evaluate_losses, hidden_states
from ifcore.projection import Projection
from tests import architectures


@pytest.fixture
def written(tiny, examples, tmp_path):
    model, tokenizer = tiny
    batches = example_batches(model, tokenizer, examples, 2)
    gradient_store.write(tmp_path, model, batches)
    return model, batches, tmp_path


def record_writes(monkeypatch):
    """The names of the files that are written from here on."""
    names, write = [], io.write_tensors
    monkeypatch.setattr(io, "write_tensors", lambda path, tensors: (names.append(path.name), write(path, tensors)))
    return names


def test_a_store_has_the_gradients_and_the_hidden_states_in_the_order_of_the_examples(written):
    model, batches, folder = written
    expected = gradients.example_gradients(model, batches)
    store = gradient_store.read(folder, model, batches)
    assert set(store) == set(expected) and len(store) == len(expected)
    for block, value in expected.items():
        assert store[block].shape == value.shape
        assert torch.equal(store[block][:, :], value) and torch.equal(store[block][:, 3:5], value[:, 3:5])
    states = representations.representations(model, batches)
    torch.testing.assert_close(store.beside("prompt_end"), states, rtol=1e-6, atol=1e-7)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of mapped files")
def test_a_store_keeps_no_shard_mapped_for_its_pages_would_fill_the_memory(written):
    model, batches, folder = written
    store = gradient_store.read(folder, model, batches)
    rows = [store[block][:, :] for block in store]
    assert rows and str(folder) not in Path("/proc/self/maps").read_text()


def test_gram_matrices_of_a_store_are_those_of_the_gradients(written):
    model, batches, folder = written
    rows, store = gradients.example_gradients(model, batches), gradient_store.read(folder, model, batches)
    expected, gram = Gram.from_gradients(rows, rows), Gram.from_gradients(store, store, panel_bytes=1000)
    places = [gram.blocks.index(block) for block in expected.blocks]
    torch.testing.assert_close(gram.K[places], expected.K)


def test_what_is_there_is_not_made_again_but_an_altered_or_missing_shard_is(written, monkeypatch):
    model, batches, folder = written
    written_names = record_writes(monkeypatch)
    gradient_store.write(folder, model, batches)
    assert written_names == []
    first, second, third = sorted(folder.glob("*.safetensors"))
    content = bytearray(second.read_bytes())
    content[-1] ^= 1
    second.write_bytes(content)
    third.unlink()
    with pytest.raises(ValueError, match=f"store: {second} is missing, altered, or of another model; write it again"):
        gradient_store.read(folder, model, batches)
    gradient_store.write(folder, model, batches)
    assert written_names == [second.name, third.name]
    gradient_store.read(folder, model, batches)


def test_shards_of_another_adapter_or_other_examples_are_made_again(written, monkeypatch):
    model, batches, folder = written
    written_names = record_writes(monkeypatch)
    gradient_store.write(folder, model, batches[::-1])
    assert len(written_names) == 2  # the one in the middle is where it was
    with torch.no_grad():
        next(parameter for name, parameter in model.named_parameters() if "lora_B" in name)[0, 0] += 1e-3
    written_names.clear()
    gradient_store.write(folder, model, batches[::-1])
    assert len(written_names) == len(batches)
    for layer in (module for module in model.modules() if isinstance(module, LoraLayer)):
        layer.scaling["default"] *= 2  # as by another lora_alpha
    written_names.clear()
    gradient_store.write(folder, model, batches[::-1])
    assert len(written_names) == len(batches)


def test_shards_of_another_projection_are_refused_and_made_again(written, monkeypatch):
    model, batches, folder = written
    written_names = record_writes(monkeypatch)
    projections = [Projection(32), Projection(32, seed=1), Projection(64), None]
    for projection in projections:
        for other in {*projections} - {projection}:
            gradient_store.write(folder, model, batches, projection=other)
            with pytest.raises(ValueError, match="write it again, with the same projection"):
                gradient_store.read(folder, model, batches, projection=projection)
        written_names.clear()
        gradient_store.write(folder, model, batches, projection=projection)
        assert len(written_names) == len(batches)
        expected = gradients.example_gradients(model, batches, projection=projection)
        store = gradient_store.read(folder, model, batches, projection=projection)
        assert all(torch.equal(store[block][:, :], value) for block, value in expected.items())


def test_processes_that_share_the_batches_leave_what_one_leaves(tiny, examples, tmp_path):
    model, tokenizer = tiny
    batches = example_batches(model, tokenizer, examples, 1)
    for rank in range(3):
        gradient_store.write(tmp_path, model, batches, share=(rank, 3))
    expected, store = gradients.example_gradients(model, batches), gradient_store.read(tmp_path, model, batches)
    assert all(torch.equal(store[block][:, :], value) for block, value in expected.items())


@pytest.mark.parametrize("rows", [[0, 0], [0, 2]])
def test_rows_that_are_missing_or_twice_are_refused(tmp_path, rows):
    for row in rows:
        io.write_tensors(
            tmp_path / f"{len(list(tmp_path.iterdir()))}.safetensors",
            {"a": torch.zeros(1, 2), "rows": torch.tensor([row])},
        )
    with pytest.raises(ValueError, match="their rows are not 0 … 1, each once"):
        gradient_store.Store(sorted(tmp_path.iterdir()))


def test_shards_of_other_blocks_are_refused(tmp_path):
    for row, block in enumerate("ab"):
        tensors = {block: torch.zeros(1, 2), "rows": torch.tensor([row])}
        io.write_tensors(tmp_path / f"{row}.safetensors", tensors)
    with pytest.raises(ValueError, match="1.safetensors has other blocks than"):
        gradient_store.Store(sorted(tmp_path.iterdir()))


def test_no_shards_are_no_store():
    with pytest.raises(ValueError, match="shards: none"):
        gradient_store.Store([])


@pytest.mark.filterwarnings("ignore")  # PEFT's advice on tied weights
@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_states_and_losses_are_those_of_each_batch_whether_or_not_the_head_is_linear(tmp_path, architecture):
    model, singles = architectures.adapted(architecture, "lora"), batches(architectures.tokens(), 1)
    gradient_store.write(tmp_path, model, singles)
    store = gradient_store.read(tmp_path, model, singles)
    expected = representations.representations(model, singles)
    torch.testing.assert_close(store.beside("prompt_end"), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(store.beside("losses"), evaluate_losses(model, singles))
    hidden = [hidden_states(model, batch) for batch in singles]
    for position in representations.POSITIONS:
        states = torch.cat([representations.at(*pair, position) for pair in zip(hidden, singles, strict=True)])
        order = torch.cat([batch.rows for batch in singles]).argsort()
        torch.testing.assert_close(store.beside(position), states[order], rtol=1e-5, atol=1e-6)
