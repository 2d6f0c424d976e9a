import pytest
import torch

from ifcore import gradients, loading, lora
from ifcore.examples import Example, batches
from tests import architectures


def autograd_gradients(model, tokenizer, examples, *loss):
    """The obvious way: one example at a time, loss.backward(), the gradient of every LoRA parameter."""
    model.eval()
    named = [(name.removesuffix(".weight"), p) for name, p in model.named_parameters() if "lora_" in name]
    rows = {name: [] for name, _ in named}
    for example in examples:
        (batch,) = lora.example_batches(model, tokenizer, [example], 1, *loss)
        model.zero_grad()
        lora.example_losses(model, batch).sum().backward()
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
    batches = lora.example_batches(model, tokenizer, examples, batch_size)
    found = gradients.example_gradients(model, batches)
    assert model.training
    assert_same(found, autograd_gradients(model, tokenizer, examples))


@pytest.mark.parametrize("loss", [("all", None), ("padded", 60)])
def test_batched_gradients_of_further_losses_equal_autograd_at_batch_size_one(tiny, examples, loss):
    model, tokenizer = tiny
    found = gradients.example_gradients(model, lora.example_batches(model, tokenizer, examples, 2, *loss))
    assert_same(found, autograd_gradients(model, tokenizer, examples, *loss))


def test_gradients_equal_autograd_at_random_lengths(tiny):
    model, tokenizer = tiny
    generator = torch.Generator().manual_seed(5)
    words = [["x" * int(n) for n in torch.randint(1, 60, (2,), generator=generator)] for _ in range(12)]
    examples = [Example(prompt, response, "a") for prompt, response in words]
    found = gradients.example_gradients(model, lora.example_batches(model, tokenizer, examples, 4))
    assert_same(found, autograd_gradients(model, tokenizer, examples))


def test_an_adapter_frozen_for_inference_has_gradients_and_stays_frozen(tiny, examples):
    model, tokenizer = tiny
    expected = autograd_gradients(model, tokenizer, examples)
    model.requires_grad_(False)
    found = gradients.example_gradients(model, lora.example_batches(model, tokenizer, examples))
    assert_same(found, expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_model_without_lora_is_refused(examples):
    model, tokenizer = loading.load("random:tiny-llama")
    with pytest.raises(ValueError, match="it has no adapter; wrap it"):
        gradients.example_gradients(model, lora.example_batches(model, tokenizer, examples))


def test_batches_that_miss_an_example_are_refused(tiny, examples):
    model, tokenizer = tiny
    batches = lora.example_batches(model, tokenizer, examples, 2)
    with pytest.raises(ValueError, match=r"rows must be 0 … 2, each once"):
        gradients.example_gradients(model, batches[1:])


def shared(model):
    """The second layer's query projection is the first's, so that it is called twice a pass."""
    layers = lora.causal_lm(model).model.layers
    layers[1].self_attn.q_proj = layers[0].self_attn.q_proj
    return model


def test_a_module_that_is_called_twice_has_the_sum_of_both():
    model, tokens = shared(architectures.adapted("llama", "lora")), architectures.tokens()
    expected = architectures.plain_gradients(model, tokens)
    assert_same(gradients.example_gradients(model, batches(tokens, 3)), expected)


def test_a_compiled_model_is_the_model_that_was_compiled():
    model, tokens = architectures.adapted("llama", "lora"), architectures.tokens()
    assert_same(
        gradients.example_gradients(torch.compile(model), batches(tokens, 3)),
        architectures.plain_gradients(model, tokens),
    )


def only_last_call(calls):
    return {block: each[-1:] for block, each in calls.items()}


def switched_off(monkeypatch, support):
    """Gradients as they would be without the support for a case."""
    real = gradients._by_products
    if support == "heads":
        monkeypatch.setattr(lora, "has_linear_head", lambda _: True)
    elif support == "one by one":
        monkeypatch.setattr(gradients, "_one_by_one", lambda *_: {})
    elif support == "calls":
        monkeypatch.setattr(gradients, "_by_products", lambda a, calls, *more: real(a, only_last_call(calls), *more))
    elif support == "rows":

        def turned(losses, calls, *more):
            """As if what is flattened came position by position."""

            def turn(x):
                return x.reshape(-1, len(losses), x.shape[-1]).transpose(0, 1) if x.dim() == 2 else x

            return real(losses, {name: [(turn(x), y) for x, y in each] for name, each in calls.items()}, *more)

        monkeypatch.setattr(gradients, "_by_products", turned)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("architecture", "adapter", "support", "said"),
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
def test_without_the_support_for_a_case_the_first_batch_shows_it(monkeypatch, architecture, adapter, support, said):
    model = architectures.adapted(architecture, adapter)
    if support == "calls":
        shared(model)
    switched_off(monkeypatch, support)
    with pytest.raises(ValueError, match=said) as raised:
        gradients.example_gradients(model, batches(architectures.tokens(), 3))
    assert "\n" not in str(raised.value)
