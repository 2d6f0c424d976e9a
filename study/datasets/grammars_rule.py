"""Grammars as in the paper's released code: a prompt has the sentence before and after, the response names the rule.

The classes and sentences are those of `grammars`; all responses of a class are the same.
"""

from collections.abc import Sequence
from random import Random

from ifcore.examples import Example
from study.datasets.draw import draw_distinct
from study.datasets.family import Counts, Family, prompt_text
from study.datasets.grammars import CLASSES, TRANSFORMATIONS, words

ASK = "Determine the grammar rule: "
ARROW = " -> "

RULES = {
    "reverse words": "Reverse Order of Words",
    "reverse letters": "Reverse Letters of Each Word",
    "capitalise": "Capitalise Every Word",
    "uppercase": "Write in Capital Letters",
    "remove vowels": "Remove All Vowels",
    "double words": "Double Every Word",
    "swap ends": "Swap First and Last Word",
    "every other": "Keep Every Other Word",
    "insert word": "Insert a Word in Between",
    "sort words": "Sort Words Alphabetically",
}


def build(
    parts: Sequence[Counts], rng: Random, harmful: str | None = None, benign: str | None = None
) -> list[list[Example]]:
    """See `Family`; no source is used."""
    return draw_distinct("grammars_rule", lambda label: _example(label, rng), parts, key=_sentence)


def correct(example: Example, response: str) -> bool:
    """Whether it is the rule's name, apart from case, white space and a full stop at the end."""
    return _name(response) == _name(example.response)


def _example(label: str, rng: Random) -> Example:
    """With a sentence that this rule changes, and no other rule in the same way."""
    while True:
        sentence = words(rng)
        results = {rule: transform(sentence) for rule, (_, transform) in TRANSFORMATIONS.items()}
        if [" ".join(sentence), *results.values()].count(results[label]) == 1:
            return Example(f"{ASK}{' '.join(sentence)}{ARROW}{results[label]}", RULES[label], label)


def _sentence(example: Example) -> str:
    return prompt_text(example).removeprefix(ASK).split(ARROW)[0]


def _name(text: str) -> str:
    return " ".join(text.strip().removesuffix(".").casefold().split())


FAMILY = Family("grammars_rule", CLASSES, build, correct)
