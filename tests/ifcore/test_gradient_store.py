"""Gradients on disk: what is read back, and what is made again."""

from pathlib import Path

import pytest
import torch
from peft.tuners.lora import LoraLayer

from ifcore import gradient_store, gradients, io, lora, representations
from ifcore.gram import Gram


@pytest.fixture
def written(tiny, examples, tmp_path):
    model, tokenizer = tiny
    batches = lora.example_batches(model, tokenizer, examples, 2)
    gradient_store.write(tmp_path, model, batches)
    return model, batches, tmp_path


def counted(monkeypatch):
    """The files that are written from here on."""
    made, real = [], io.write_tensors
    monkeypatch.setattr(io, "write_tensors", lambda path, tensors: (made.append(path.name), real(path, tensors)))
    return made


def test_a_store_has_the_gradients_and_the_hidden_states_in_the_order_of_the_examples(written):
    model, batches, folder = written
    expected, found = gradients.example_gradients(model, batches), gradient_store.read(folder, model, batches)
    assert set(found) == set(expected) and len(found) == len(expected)
    for block, value in expected.items():
        assert found[block].shape == value.shape
        assert torch.equal(found[block][:, :], value) and torch.equal(found[block][:, 3:5], value[:, 3:5])
    states = representations.representations(model, batches)
    torch.testing.assert_close(found.hidden(), states, rtol=1e-6, atol=1e-7)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no list of what is mapped")
def test_a_store_keeps_no_shard_mapped_for_its_pages_would_fill_the_memory(written):
    model, batches, folder = written
    found = gradient_store.read(folder, model, batches)
    kept = [found[block][:, :] for block in found]
    assert kept and str(folder) not in Path("/proc/self/maps").read_text()


def test_gram_matrices_of_a_store_are_those_of_the_gradients(written):
    model, batches, folder = written
    whole, kept = gradients.example_gradients(model, batches), gradient_store.read(folder, model, batches)
    expected, found = Gram.from_gradients(whole, whole), Gram.from_gradients(kept, kept, panel_bytes=1000)
    at = [found.blocks.index(block) for block in expected.blocks]
    torch.testing.assert_close(found.K[at], expected.K)


def test_what_is_there_is_not_made_again_but_an_altered_or_missing_shard_is(written, monkeypatch):
    model, batches, folder = written
    made = counted(monkeypatch)
    gradient_store.write(folder, model, batches)
    assert made == []
    first, second, third = sorted(folder.glob("*.safetensors"))
    content = bytearray(second.read_bytes())
    content[-1] ^= 1
    second.write_bytes(content)
    third.unlink()
    with pytest.raises(ValueError, match=f"store: {second} is missing, altered, or of another model; write it again"):
        gradient_store.read(folder, model, batches)
    gradient_store.write(folder, model, batches)
    assert made == [second.name, third.name]
    gradient_store.read(folder, model, batches)


def test_shards_of_another_adapter_or_other_examples_are_made_again(written, monkeypatch):
    model, batches, folder = written
    made = counted(monkeypatch)
    gradient_store.write(folder, model, batches[::-1])
    assert len(made) == 2  # the one in the middle is where it was
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if "lora_B" in name)[0, 0] += 1e-3
    made.clear()
    gradient_store.write(folder, model, batches[::-1])
    assert len(made) == len(batches)
    for layer in (each for each in model.modules() if isinstance(each, LoraLayer)):
        layer.scaling["default"] *= 2  # as by another lora_alpha
    made.clear()
    gradient_store.write(folder, model, batches[::-1])
    assert len(made) == len(batches)


def test_processes_that_share_the_batches_leave_what_one_leaves(tiny, examples, tmp_path):
    model, tokenizer = tiny
    batches = lora.example_batches(model, tokenizer, examples, 1)
    for number in range(3):
        gradient_store.write(tmp_path, model, batches, share=(number, 3))
    expected, found = gradients.example_gradients(model, batches), gradient_store.read(tmp_path, model, batches)
    assert all(torch.equal(found[block][:, :], value) for block, value in expected.items())


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
