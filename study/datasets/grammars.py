"""Grammars: ten ways to transform a sentence; the class is the transformation.

Sentences have four to seven words from fixed lists and are all different: train and validation share none.
"""

from collections.abc import Callable, Sequence
from random import Random

from ifcore.examples import Example
from study.datasets.draw import draw_distinct
from study.datasets.family import Counts, Family, prompt_text

# class -> the instruction, and the function that applies it to the words of a sentence
TRANSFORMATIONS: dict[str, tuple[str, Callable[[list[str]], str]]] = {
    "reverse words": ("Write the words in reverse order", lambda w: " ".join(w[::-1])),
    "reverse letters": ("Write each word backwards", lambda w: " ".join(x[::-1] for x in w)),
    "capitalise": ("Start every word with a capital letter", lambda w: " ".join(x.capitalize() for x in w)),
    "uppercase": ("Write everything in capital letters", lambda w: " ".join(w).upper()),
    "remove vowels": ("Leave out the vowels a, e, i, o and u", lambda w: _without(" ".join(w), "aeiou")),
    "double words": ("Write every word twice in a row", lambda w: " ".join(f"{x} {x}" for x in w)),
    "swap ends": ("Swap the first word and the last word", lambda w: " ".join([w[-1], *w[1:-1], w[0]])),
    "every other": ("Keep only every other word, from the first", lambda w: " ".join(w[::2])),
    "insert word": ("Put the word 'pure' between all words", lambda w: " pure ".join(w)),
    "sort words": ("Put the words in alphabetical order", lambda w: " ".join(sorted(w))),
}
CLASSES = tuple(TRANSFORMATIONS)

ADJECTIVES = "old young happy quiet clever busy proud gentle tired cheerful famous polite".split()
PEOPLE = "baker farmer teacher sailor painter doctor singer gardener student neighbour waiter pilot".split()
VERBS = "washed painted bought carried found repaired sold counted cleaned borrowed watched moved".split()
QUALITIES = "green yellow silver wooden heavy broken tiny round empty dusty bright narrow".split()
OBJECTS = "cup chair bottle boat letter basket lamp clock ladder blanket mirror wagon".split()


def build(
    parts: Sequence[Counts], rng: Random, harmful: str | None = None, benign: str | None = None
) -> list[list[Example]]:
    """See `Family`; no source is used."""
    return draw_distinct("grammars", lambda label: _example(label, rng), parts, key=_sentence)


def correct(example: Example, response: str) -> bool:
    """Whether it is the expected sentence, apart from white space."""
    return response.split() == example.response.split()


def words(rng: Random) -> list[str]:
    """A random sentence: the [adjective] person verb objects, or the [adjective] person verb the [quality] object."""
    subject = ["the", *([rng.choice(ADJECTIVES)] if rng.random() < 0.7 else []), rng.choice(PEOPLE)]
    if rng.random() < 0.4:
        return [*subject, rng.choice(VERBS), rng.choice(OBJECTS) + "s"]
    qualities = [rng.choice(QUALITIES)] if rng.random() < 0.5 else []
    return [*subject, rng.choice(VERBS), "the", *qualities, rng.choice(OBJECTS)]


def _example(label: str, rng: Random) -> Example:
    instruction, transform = TRANSFORMATIONS[label]
    sentence = words(rng)
    while transform(sentence) == " ".join(sentence):  # the words happen to be in order
        sentence = words(rng)
    return Example(f"{instruction}: {' '.join(sentence)}", transform(sentence), label)


def _without(text: str, letters: str) -> str:
    return text.translate(dict.fromkeys(map(ord, letters)))


def _sentence(example: Example) -> str:
    return prompt_text(example).split(": ")[1]


FAMILY = Family("grammars", CLASSES, build, correct)
