import pytest
import torch
from safetensors.torch import save_file

from ifcore import gradients, models, weights
from ifcore.examples import Example


def autograd_gradients(model, tokenizer, examples, *loss):
    """The obvious way: one example at a time, loss.backward(), the gradient of every LoRA parameter."""
    model.eval()
    named = [(name.removesuffix(".weight"), p) for name, p in model.named_parameters() if "lora_" in name]
    rows = {name: [] for name, _ in named}
    for example in examples:
        (batch,) = models.example_batches(model, tokenizer, [example], 1, *loss)
        model.zero_grad()
        models.example_losses(model, batch).sum().backward()
        for name, parameter in named:
            rows[name].append(parameter.grad.flatten().clone())
    return {name: torch.stack(value) for name, value in rows.items()}


def assert_same(found, expected, rtol=1e-10):
    assert found.keys() == expected.keys()
    for block, value in expected.items():
        error = (found[block] - value).norm() / value.norm()
        assert error < rtol, f"{block}: {error}"


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batched_gradients_equal_autograd_at_batch_size_one(tiny, examples, batch_size):
    """With padding, ragged lengths, a frozen tied embedding, and dropout configured (but off: evaluation mode)."""
    model, tokenizer = tiny
    assert model.config.tie_word_embeddings
    assert not model.get_input_embeddings().weight.requires_grad
    model.train()
    batches = models.example_batches(model, tokenizer, examples, batch_size)
    found = gradients.example_gradients(model, batches)
    assert model.training
    assert_same(found, autograd_gradients(model, tokenizer, examples))


@pytest.mark.parametrize("loss", [("all", None), ("padded", 60)])
def test_batched_gradients_of_further_losses_equal_autograd_at_batch_size_one(tiny, examples, loss):
    model, tokenizer = tiny
    found = gradients.example_gradients(model, models.example_batches(model, tokenizer, examples, 2, *loss))
    assert_same(found, autograd_gradients(model, tokenizer, examples, *loss))


def test_gradients_equal_autograd_at_random_lengths(tiny):
    model, tokenizer = tiny
    generator = torch.Generator().manual_seed(5)
    words = [["x" * int(n) for n in torch.randint(1, 60, (2,), generator=generator)] for _ in range(12)]
    examples = [Example(prompt, response, "a") for prompt, response in words]
    found = gradients.example_gradients(model, models.example_batches(model, tokenizer, examples, 4))
    assert_same(found, autograd_gradients(model, tokenizer, examples))


def test_an_adapter_frozen_for_inference_has_gradients_and_stays_frozen(tiny, examples):
    model, tokenizer = tiny
    expected = autograd_gradients(model, tokenizer, examples)
    model.requires_grad_(False)
    found = gradients.example_gradients(model, models.example_batches(model, tokenizer, examples))
    assert_same(found, expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_shards_read_back_as_the_gradients(tiny, examples, tmp_path):
    model, tokenizer = tiny
    batches = models.example_batches(model, tokenizer, examples, 2)
    expected = gradients.example_gradients(model, batches)
    for i, (batch, rows) in enumerate(zip(batches, gradients.stream(model, batches), strict=True)):
        save_file(gradients.shard(batch.rows, rows), tmp_path / f"{i}.safetensors")
    store = gradients.Store(sorted(tmp_path.iterdir()))
    assert set(store) == set(expected)
    assert len(store) == len(expected)
    assert all(torch.equal(store[block], expected[block]) for block in store)


def test_a_model_without_lora_is_refused(examples):
    model, tokenizer = weights.load("random:tiny-llama")
    with pytest.raises(ValueError, match="no LoRA linear layers; wrap it"):
        gradients.example_gradients(model, models.example_batches(model, tokenizer, examples))


def test_batches_that_miss_an_example_are_refused(tiny, examples):
    model, tokenizer = tiny
    batches = models.example_batches(model, tokenizer, examples, 2)
    with pytest.raises(ValueError, match=r"rows must be 0 … 2, each once"):
        gradients.example_gradients(model, batches[1:])
