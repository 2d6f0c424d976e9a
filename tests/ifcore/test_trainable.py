"""What an adapter trains, and the errors for adapters whose gradients are not supported."""

import pytest
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model

from ifcore import gradients, trainable
from ifcore.batches import batches
from ifcore.losses import hidden_states
from tests import architectures


def prompt(config):
    return lambda: get_peft_model(architectures.build("llama"), config(task_type="CAUSAL_LM", num_virtual_tokens=2))


def changed(change, adapter="lora"):
    def build():
        model = architectures.adapted("llama", adapter)
        change(model)
        return model

    return build


def set_both(model):
    model.base_model.set_adapter(["default", "other"])


def unfreeze(model):
    model.get_output_embeddings().weight.requires_grad_(True)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: architectures.build("llama"), "it has no adapter; wrap it with peft or load an adapter first"),
        (prompt(PrefixTuningConfig), "adapter 'default' (PREFIX_TUNING) is a prompt; choose one that changes weights"),
        (prompt(PromptTuningConfig), "adapter 'default' (PROMPT_TUNING) is a prompt; choose one that changes weights"),
        (changed(lambda model: model.merge_adapter()), "adapter 'default' is merged into the weights; call"),
        (changed(lambda model: model.base_model.disable_adapter_layers()), "adapter 'default' is disabled; call"),
        (changed(set_both, "one of two"), "adapters default, other are active; choose one by model.set_adapter"),
        (changed(unfreeze), "lm_head.weight requires a gradient and is not of adapter 'default'"),
    ],
)
def test_what_is_no_one_adapter_on_frozen_weights_is_refused_in_a_line(build, message):
    model = build()
    with pytest.raises(ValueError) as raised:
        gradients.example_gradients(model, batches(architectures.tokens(), 3))
    assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("adapter", architectures.ADAPTERS)
def test_the_parameters_are_those_that_peft_trains_frozen_or_not(adapter):
    model = architectures.adapted("llama", adapter)
    expected = {name.removesuffix(".weight") for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(trainable.trainable_parameters(model)) == expected
    model.requires_grad_(False)
    assert set(trainable.trainable_parameters(model)) == expected


def test_an_inactive_adapter_is_passed_over_though_it_wants_gradients():
    model = architectures.adapted("llama", "one of two")
    for name, parameter in model.named_parameters():
        if ".other." in name:
            parameter.requires_grad_(True)
    assert not any(".other" in name for name in trainable.trainable_parameters(model))


def test_an_adapter_that_transformers_added_is_one_as_well():
    """By `model.add_adapter`, without a PeftModel around it."""
    model, tokens = architectures.build("llama"), architectures.tokens()
    model.add_adapter(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    model.double().eval()
    expected = architectures.plain_gradients(model, tokens)
    rows = gradients.example_gradients(model, batches(tokens, 3))
    assert rows.keys() == expected.keys()
    assert all((rows[block] - value).norm() < 1e-10 * value.norm() for block, value in expected.items())


def test_a_prompt_has_no_hidden_states_either():
    (batch,) = batches(architectures.tokens())
    with pytest.raises(ValueError, match="PREFIX_TUNING.* is a prompt"):
        hidden_states(prompt(PrefixTuningConfig)(), batch)
