"""RepT against what transformers and plain autograd say of one example at a time."""

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from ifcore.batches import batches, example_batches
from ifcore.examples import with_prompt
from ifcore.representation_gradients import choose_layer, features, rept
from tests import architectures


def plain_features(model, sequences, layer):
    """State and gradient by `output_hidden_states` and the loss written out, one example at a time."""
    rows = []
    for sequence in sequences:
        output = model(input_ids=torch.tensor([sequence.ids]), output_hidden_states=True)
        state, end = output.hidden_states[layer], len(sequence.prompt)
        logp = output.logits[0, end - 1 : -1].log_softmax(-1)
        loss = -logp.gather(1, torch.tensor(sequence.response)[:, None]).mean()
        (gradient,) = torch.autograd.grad(loss, state)
        rows.append(torch.cat([state.detach()[0, end - 1], gradient[0, end - 1]]))
    return torch.stack(rows)


@pytest.mark.parametrize("layer", [1, 2])
@pytest.mark.parametrize("architecture", architectures.ARCHITECTURES)
def test_features_equal_autograd_at_batch_size_one(architecture, layer):
    model, sequences = architectures.adapted(architecture, "lora"), architectures.tokens()
    actual, expected = features(model, batches(sequences, 3), layer), plain_features(model, sequences, layer)
    assert actual.shape == (4, 32) and actual.dtype == torch.float64
    tolerance = 1e-4 if architecture in architectures.ATTEND_IN_FLOAT32 else 1e-10
    for part, expected_part in zip(actual.split(16, 1), expected.split(16, 1), strict=True):
        assert (part - expected_part).norm() < tolerance * expected_part.norm()


def test_neither_dropout_nor_a_frozen_adapter_nor_the_batches_change_features(tiny, examples):
    model, tokenizer = tiny
    expected = features(model.eval(), example_batches(model, tokenizer, examples, 1), 1)
    model.train().requires_grad_(False)
    with torch.no_grad():
        actual = features(model, example_batches(model, tokenizer, examples, 3), 1)
    assert model.training
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-14)


def deep(seed, layers):
    torch.manual_seed(seed)
    config = AutoConfig.for_model("llama", **architectures.SMALL | {"num_hidden_layers": layers})
    model = AutoModelForCausalLM.from_config(config).double()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.3)
    return model


def test_the_chosen_layer_is_the_later_of_the_least_alike_pair_of_inner_layers():
    sequences, chosen = architectures.tokens(), set()
    for seed in range(8):
        model, cosines = deep(seed, 6), torch.zeros(4)
        for sequence in sequences:
            with torch.no_grad():
                states = model(input_ids=torch.tensor([sequence.prompt]), output_hidden_states=True).hidden_states
            cosines += torch.stack([states[i][0, -1] @ states[i + 1][0, -1] / states[i][0, -1].norm()
                                    / states[i + 1][0, -1].norm() for i in range(1, 5)])  # fmt: skip
        layer = choose_layer(model, batches(sequences, 3))
        assert layer == [2, 3, 4, 5][int(cosines.argmin())]
        chosen.add(layer)
    assert len(chosen) > 1, "the choice depends on the model"


@pytest.mark.parametrize(("layers", "layer"), [(1, 1), (2, 1), (3, 2)])
def test_a_shallow_model_leaves_no_choice(layers, layer):
    assert choose_layer(deep(0, layers), batches(architectures.tokens())) == layer


def test_scores_are_the_cosine_of_both_parts_together():
    train, val = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).double(), torch.ones(2, 8).double()
    val[1, 4:] = -0.1
    states, gradients = val[:, :4] @ train[:, :4].T, val[:, 4:] @ train[:, 4:].T
    torch.testing.assert_close(rept(train, val), (states + gradients) / val.norm(dim=1)[:, None] / train.norm(dim=1))


def test_what_has_no_such_state_is_refused_in_one_line(tiny):
    model, _ = tiny
    sequences = batches(architectures.tokens(seed=0)[:1])
    for layer in (0, 3):
        with pytest.raises(ValueError, match=rf"layer: {layer}; choose one of 1 … 2"):
            features(model, sequences, layer)
    without_prompt = batches([with_prompt((), (2, 3)), with_prompt((1,), (2,))])
    with pytest.raises(ValueError, match="batch: example 0 has no prompt token; give it a prompt"):
        features(model, without_prompt, 1)
    with pytest.raises(ValueError, match="batches: none"):
        choose_layer(model, [])
    model.config.num_hidden_layers = 7
    with pytest.raises(ValueError, match="LlamaForCausalLM has no list of its 7 layers; choose another method"):
        choose_layer(model, sequences)
