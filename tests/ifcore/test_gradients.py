import pytest
import torch

from ifcore import gradients, loading, losses
from ifcore.batches import batches, example_batches
from ifcore.examples import Example
from ifcore.losses import causal_lm, example_losses
from study.pipeline.losses import loss_batches
from tests import architectures


def autograd_gradients(model, tokenizer, examples, loss_on="response"):
    """The slow way: loss.backward() for one example at a time, the gradient of every LoRA parameter."""
    model.eval()
    parameters = {name.removesuffix(".weight"): p for name, p in model.named_parameters() if "lora_" in name}
    rows = {name: [] for name in parameters}
    singles = loss_batches(model, tokenizer, {"": examples}, 1, loss_on)[""]
    for batch in sorted(singles, key=lambda batch: int(batch.rows)):
        model.zero_grad()
        example_losses(model, batch).sum().backward()
        for name, parameter in parameters.items():
            rows[name].append(parameter.grad.flatten().clone())
    return {name: torch.stack(value) for name, value in rows.items()}


def assert_same(rows, expected, rtol=1e-10):
    assert rows.keys() == expected.keys()
    for block, value in expected.items():
        error = (rows[block] - value).norm() / value.norm()
        assert error < rtol, f"{block}: {error}"


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_batched_gradients_equal_autograd_at_batch_size_one(tiny, examples, batch_size):
    """With padding, ragged lengths, a frozen tied embedding, and dropout configured (but off: evaluation mode)."""
    model, tokenizer = tiny
    assert model.config.tie_word_embeddings
    assert not model.get_input_embeddings().weight.requires_grad
    model.train()
    batches = example_batches(model, tokenizer, examples, batch_size)
    rows = gradients.example_gradients(model, batches)
    assert model.training
    assert_same(rows, autograd_gradients(model, tokenizer, examples))


@pytest.mark.parametrize("loss_on", ["all", "padded"])
def test_batched_gradients_of_further_losses_equal_autograd_at_batch_size_one(tiny, examples, loss_on):
    model, tokenizer = tiny
    rows = gradients.example_gradients(model, loss_batches(model, tokenizer, {"": examples}, 2, loss_on)[""])
    assert_same(rows, autograd_gradients(model, tokenizer, examples, loss_on))


def test_losses_come_in_the_order_of_the_examples_whatever_the_batches(tiny, examples):
    """Batches go by length, the longest first."""
    model, tokenizer = tiny
    singles = [example_batches(model, tokenizer, [example], 1) for example in examples]
    expected = torch.cat([losses.evaluate_losses(model, single) for single in singles])
    assert expected.unique().numel() == len(examples)
    for size in (1, 3):
        actual = losses.evaluate_losses(model, example_batches(model, tokenizer, examples, size))
        torch.testing.assert_close(actual, expected)


def test_gradients_equal_autograd_at_random_lengths(tiny):
    model, tokenizer = tiny
    generator = torch.Generator().manual_seed(5)
    words = [["x" * int(n) for n in torch.randint(1, 60, (2,), generator=generator)] for _ in range(12)]
    examples = [Example(prompt, response, "a") for prompt, response in words]
    rows = gradients.example_gradients(model, example_batches(model, tokenizer, examples, 4))
    assert_same(rows, autograd_gradients(model, tokenizer, examples))


def test_an_adapter_frozen_for_inference_has_gradients_and_stays_frozen(tiny, examples):
    model, tokenizer = tiny
    expected = autograd_gradients(model, tokenizer, examples)
    model.requires_grad_(False)
    rows = gradients.example_gradients(model, example_batches(model, tokenizer, examples))
    assert_same(rows, expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_model_without_lora_is_refused(examples):
    model, tokenizer = loading.load("random:tiny-llama")
    with pytest.raises(ValueError, match="it has no adapter; wrap it"):
        gradients.example_gradients(model, example_batches(model, tokenizer, examples))


def test_batches_that_miss_an_example_are_refused(tiny, examples):
    model, tokenizer = tiny
    batches = example_batches(model, tokenizer, examples, 2)
    with pytest.raises(ValueError, match=r"rows must be 0 … 2, each once"):
        gradients.example_gradients(model, batches[1:])


def share_query_projection(model):
    """Give both layers the first one's query projection, so that a pass calls it twice."""
    layers = causal_lm(model).model.layers
    layers[1].self_attn.q_proj = layers[0].self_attn.q_proj
    return model


def test_a_module_that_is_called_twice_has_the_sum_of_both():
    model, tokens = share_query_projection(architectures.adapted("llama", "lora")), architectures.tokens()
    expected = architectures.plain_gradients(model, tokens)
    assert_same(gradients.example_gradients(model, batches(tokens, 3)), expected)


def test_a_compiled_model_is_the_model_that_was_compiled():
    model, tokens = architectures.adapted("llama", "lora"), architectures.tokens()
    assert_same(
        gradients.example_gradients(torch.compile(model), batches(tokens, 3)),
        architectures.plain_gradients(model, tokens),
    )


def only_last_call(calls):
    return {block: pairs[-1:] for block, pairs in calls.items()}


def switch_off(monkeypatch, support):
    """Turn off the support for a case."""
    real = gradients._by_products
    if support == "heads":
        monkeypatch.setattr(losses, "has_linear_head", lambda _: True)
    elif support == "one by one":
        monkeypatch.setattr(gradients, "_one_by_one", lambda *_: {})
    elif support == "calls":
        monkeypatch.setattr(gradients, "_by_products", lambda a, calls, *more: real(a, only_last_call(calls), *more))
    elif support == "rows":

        def misread(batch_losses, calls, *more):
            """Take flattened inputs for ordered by position."""

            def transpose(x):
                return x.reshape(-1, len(batch_losses), x.shape[-1]).transpose(0, 1) if x.dim() == 2 else x

            calls = {block: [(transpose(x), y) for x, y in pairs] for block, pairs in calls.items()}
            return real(batch_losses, calls, *more)

        monkeypatch.setattr(gradients, "_by_products", misread)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("architecture", "adapter", "support", "message"),
    [
        ("gemma2", "lora", "heads", "by the model's own logits"),
        ("cohere", "lora", "heads", "by the model's own logits"),
        ("granite", "lora", "heads", "by the model's own logits"),
        ("llama", "embedding", "one by one", "no gradient of .*lora_embedding_A"),
        ("qwen2", "bias", "one by one", "no gradient of .*bias"),
        ("llama", "head saved", "one by one", "no gradient of .*lm_head"),
        ("llama", "tokens", "one by one", "no gradient of .*trainable_tokens"),
        ("llama", "dora", "one by one", "no gradient of "),
        ("llama", "ia3", "one by one", "no gradient of "),
        ("mixtral", "lora", "one by one", "no gradient of .*experts"),
        ("opt", "lora", "rows", "sum to a gradient that is off"),
        ("llama", "lora", "calls", "sum to a gradient that is off"),
    ],
)
def test_without_the_support_for_a_case_the_first_batch_shows_it(monkeypatch, architecture, adapter, support, message):
    model = architectures.adapted(architecture, adapter)
    if support == "calls":
        share_query_projection(model)
    switch_off(monkeypatch, support)
    with pytest.raises(ValueError, match=message) as raised:
        gradients.example_gradients(model, batches(architectures.tokens(), 3))
    assert "\n" not in str(raised.value)
