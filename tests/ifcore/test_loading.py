import pytest
import torch

from ifcore import loading


def test_a_saved_model_loads_by_path(tmp_path):
    model, tokenizer = loading.load("random:tiny-llama", seed=3)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded, loaded_tokenizer = loading.load(f"path:{tmp_path}")
    ids = tokenizer("hello")["input_ids"]
    assert loaded_tokenizer("hello")["input_ids"] == ids
    assert torch.equal(model(torch.tensor([ids])).logits, loaded(torch.tensor([ids])).logits)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("SmolLM", "'SmolLM'; a source is one of hub:"),
        ("random:huge", "'random:huge'; a source is one of"),
        ("path:/no/such/folder", "/no/such/folder is not a folder with a config.json; give one"),
        ("pypi:no-such==1", "'pypi:no-such==1'; a source is one of hub:"),
    ],
)
def test_a_wrong_source_is_refused_in_one_line(source, message):
    for function in (loading.load, loading.check):
        with pytest.raises(ValueError, match="^model: ") as error:
            function(source)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_a_hub_model_out_of_reach_fails_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"^model: 'hub:no-one/no-model' could not be loaded .*path:") as error:
        loading.load("hub:no-one/no-model")
    assert "\n" not in str(error.value)
