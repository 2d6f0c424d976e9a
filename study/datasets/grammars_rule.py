"""Grammars as the paper's code released it: a sentence before and after, and the response names the rule.

The classes and sentences are those of `grammars`; here a response is the same for a whole class.
"""

from __future__ import annotations

from random import Random

from ifcore.examples import Example
from study.datasets.draw import distinct
from study.datasets.family import Family
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


def build(parts, rng: Random, harmful=None, benign=None) -> list[list[Example]]:
    """See `Family`; this data set draws on no source."""
    return distinct("grammars_rule", lambda label: _example(label, rng), parts, key=_sentence)


def correct(example: Example, response: str) -> bool:
    """Whether it is the rule's name, but for case, blanks and a full stop at the end."""
    return _name(response) == _name(example.response)


def _example(label: str, rng: Random) -> Example:
    """Of a sentence on which no other rule does the same, nor the rule nothing."""
    while True:
        given = words(rng)
        made = {rule: transform(given) for rule, (_, transform) in TRANSFORMATIONS.items()}
        if [" ".join(given), *made.values()].count(made[label]) == 1:
            return Example(f"{ASK}{' '.join(given)}{ARROW}{made[label]}", RULES[label], label)


def _sentence(example: Example) -> str:
    return example.prompt.removeprefix(ASK).split(ARROW)[0]


def _name(text: str) -> str:
    return " ".join(text.strip().removesuffix(".").casefold().split())


FAMILY = Family("grammars_rule", CLASSES, build, correct)
