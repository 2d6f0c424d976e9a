"""Every architecture with every adapter: correct, or an error of one line."""

import pytest
import torch

from ifcore import adapter_distance, gradients, representations
from ifcore.batches import batches
from tests import architectures

CELLS = [(a, b) for a in architectures.ARCHITECTURES for b in architectures.ADAPTERS]
CELLS = [cell for cell in CELLS if cell not in architectures.NOT_IN_PEFT]


@pytest.fixture(params=CELLS, ids="-".join)
def cell(request):
    return architectures.adapted(*request.param), architectures.tokens()


@pytest.mark.filterwarnings("ignore")  # PEFT's advice on tied weights
def test_gradients_states_divergences_and_distances_are_what_the_model_itself_says(cell, tmp_path):
    model, tokens = cell
    expected = architectures.plain_gradients(model, tokens)
    rows = gradients.example_gradients(model, batches(tokens, 3))
    assert rows.keys() == expected.keys()
    size = torch.cat(list(expected.values()), 1).norm()
    limit = 1e-6 if model.config.model_type in architectures.ATTEND_IN_FLOAT32 else 1e-10
    for block, value in expected.items():
        assert (rows[block] - value).norm() < limit * size, block

    states = representations.representations(model, batches(tokens, 3))
    log_probs = {
        int(batch.rows[place]): values
        for batch in batches(tokens, 3)
        for place, values in enumerate(adapter_distance.next_token_log_probs(model, batch))
    }
    for row, sequence in enumerate(tokens):
        with torch.no_grad():
            output = model(input_ids=torch.tensor([sequence.prompt]), output_hidden_states=True)
        torch.testing.assert_close(
            log_probs[row], output.logits[0].log_softmax(-1), rtol=1e-6, atol=1e-6
        )  # some attend in float32
        torch.testing.assert_close(states[row], output.hidden_states[-1][0, -1].float(), rtol=1e-5, atol=1e-6)

    model.save_pretrained(tmp_path)
    before = weights_of(model)
    if not plain_lora(model, expected):
        with pytest.raises(ValueError) as error:
            adapter_distance.updates(tmp_path)
        assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
        return
    distances = adapter_distance.distances({}, adapter_distance.updates(tmp_path))
    model.merge_adapter()
    changes = torch.stack([(after - before[name]).norm() for name, after in weights_of(model).items()])
    torch.testing.assert_close(distances.sort().values, changes[changes > 0].sort().values, rtol=1e-5, atol=0)


def plain_lora(model, blocks):
    """Whether the adapter adds B A · alpha/r to the base model's weights, and nothing else."""
    config = model.peft_config["default"].to_dict()
    named = all(name.endswith((".lora_A.default", ".lora_B.default")) for name in blocks)
    variants = ("use_rslora", "use_dora", "rank_pattern")  # the last where PEFT finds experts
    plain = config.get("init_lora_weights") is True and config.get("bias") == "none"
    return named and plain and not any(config.get(name) for name in variants)


def weights_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if ".base_layer." in name}
