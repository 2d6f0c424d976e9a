"""A causal language model and its tokenizer from a source string.

Source strings: `hub:owner/name`, `path:/some/folder`, `random:tiny-llama` (built in code, nothing is downloaded).
"""

import functools
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ifcore.onednn import through_onednn
from ifcore.sanitize import reason
from ifcore.tiny import tiny_tokenizer


def load(
    source: str,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    seed: int = 0,
    tokenizer_in: Path | None = None,
):
    """Load a causal language model and its tokenizer.

    Parameters
    ----------
    source : str
        `path:FOLDER` as save_pretrained leaves it, `hub:OWNER/NAME`, or `random:tiny-llama`, for tests.
    dtype : torch.dtype
        Of the weights.
    device : str
    seed : int
        Of the weights of `random:`.
    tokenizer_in : Path, optional
        The folder of another tokenizer than the model's.

    Returns
    -------
    tuple of PreTrainedModel and PreTrainedTokenizerBase
        The model in evaluation mode, frozen; the tokenizer has a token to pad with.

    Raises
    ------
    ValueError
        For a source it does not know and a folder that is not a model.
    ConnectionError
        Where a download fails.
    """
    source = check(source)
    if source.startswith("hub:"):
        model, tokenizer = _from_hub(source.removeprefix("hub:"), dtype, tokenizer_in)
    elif source.startswith("path:"):
        folder = _existing(source)
        model, tokenizer = _whole_model(source, folder, dtype), _tokenizer(tokenizer_in or folder)
    else:
        model, tokenizer = _tiny_llama(seed, dtype)
        tokenizer = _tokenizer(tokenizer_in) if tokenizer_in else tokenizer
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    # On a CPU, at some forty tokens a sequence, the plain product is a fifth faster than the fused kernel. It takes its
    # softmax in float32, which float64 must not.
    if device == "cpu" and dtype != torch.float64:
        model.set_attn_implementation("eager")
        through_onednn(model)
    return model.to(device).eval().requires_grad_(False), tokenizer


def check(source: str) -> str:
    """The source, of a bare folder with its `path:`. Raises ValueError if it can be seen to be wrong without loading or
    downloading anything."""
    if Path(source).is_dir():
        source = f"path:{source}"
    if source.startswith("path:"):
        _existing(source)
    elif source.startswith("hub:"):
        if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source.removeprefix("hub:")):
            raise ValueError(f"model: {source!r}; a model on the hub is written hub:OWNER/NAME")
    elif source != "random:tiny-llama":
        if re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source):
            raise ValueError(f"model: {source!r} is no folder here; a model on the hub is written hub:{source}")
        raise ValueError(f"model: {source!r}; a source is one of hub:OWNER/NAME, path:FOLDER, random:tiny-llama")
    return source


def identity(source: str) -> str:
    """What tells the model that `source` names from any other, wherever it lies: a hash of its weights, its tokenizer
    and its settings, or the revision that the hub has now. A folder retrained in place is another model."""
    scheme, _, place = source.partition(":")
    if scheme == "hub":
        return f"hub:{place}@{_revision(place)}"
    if scheme == "path":
        return f"sha256:{_content(tuple(_stamp(file) for file in sorted(_existing(source).iterdir())))}"
    return source


def _existing(source: str) -> Path:
    folder = Path(source.removeprefix("path:")).expanduser()
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"model: {source!r}; {folder} is not a folder with a config.json; give one that save_pretrained wrote"
        )
    if (folder / "adapter_config.json").is_file():
        raise ValueError(f"model: {source!r}; it brings an adapter of its own; merge that into it, or give its base")
    return folder


def _tokenizer(place: Path | str, **options: Any) -> Any:
    """ValueError, in one line, where there is none that can be loaded."""
    try:
        return AutoTokenizer.from_pretrained(place, **options)
    except Exception as error:  # of whichever class the files name
        remedy = "save it there, or beside the adapter"
        raise ValueError(f"model: the tokenizer in {place} can't be loaded ({reason(error)}); {remedy}") from None


def _whole_model(source: str, place: Path | str, dtype: torch.dtype, **options: Any) -> Any:
    """The model; ValueError for weights that the files don't have, which would be drawn at random."""
    load: Any = AutoModelForCausalLM.from_pretrained  # whose types say nothing of the report
    try:
        model, report = load(place, dtype=dtype, use_safetensors=True, output_loading_info=True, **options)
    except OSError:  # what a network says is said by who asked it
        raise
    except Exception as error:  # torn files, missing libraries of a quantised model, and more
        raise ValueError(f"model: {source!r}; its model.safetensors can't be loaded ({reason(error)})") from None
    if getattr(model, "_hf_peft_config_loaded", False):
        raise ValueError(f"model: {source!r}; it brings an adapter of its own; merge that into it, or give its base")
    if missing := sorted(report["missing_keys"]):
        others = f" and {len(missing) - 1} more" if missing[1:] else ""
        raise ValueError(f"model: {source!r}; its files have no {missing[0]}{others}; save the model again")
    return model


@functools.cache
def _content(stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """The hash of some files' names and bytes; asked again of files that were not touched since, it reads nothing."""
    digest = hashlib.sha256()
    for path, _, _ in stamps:
        if path.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt"):
            with path.open("rb") as stream:
                digest.update(path.name.encode() + hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _stamp(file: Path) -> tuple[Path, int, int]:
    return file, file.stat().st_size, file.stat().st_mtime_ns


@functools.cache
def _revision(name: str) -> str:
    """The commit that the hub's main branch is at, or, without a network, that of the local copy."""
    with _hub(name):
        try:
            revision = HfApi().model_info(name, timeout=10).sha
        except HfHubHTTPError:  # the hub's own answer
            raise
        except (HTTPError, OfflineModeIsEnabled):  # at once, where a download would try again and again
            revision = None
        file = hf_hub_download(name, "config.json", revision=revision, local_files_only=revision is None)
        return Path(file).parent.name


def _from_hub(name: str, dtype: torch.dtype, tokenizer_in: Path | None):
    revision = _revision(name)
    with _hub(name):
        own: dict[str, Any] = {} if tokenizer_in else {"revision": revision}
        tokenizer = _tokenizer(tokenizer_in or name, **own)
        return _whole_model(f"hub:{name}", name, dtype, revision=revision), tokenizer


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
        model: nn.Module = LlamaForCausalLM(config)
    return model.to(dtype), tokenizer
