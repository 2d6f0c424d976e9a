"""Facts: invented places and what is liked best in each, a data set on which the words of a prompt cannot help.

The class is the fact, such as `Velmora: colour`. It is stated once, to train on, and asked for by another noun: by hue,
not by colour. Of the words of a question, the statements about its place have the place's name and the common frame,
and no other word tells them apart. So what goes by words finds all statements about the place equally similar, and the
right one once in as many times as there are relations. That holds where the classes are all relations of some places,
as the first 4, 20 and 48 are, and all 72. What a model knows of the nouns' meanings can still find the statement.
The frame stays because a small model carries a fact to another one only after long training, if at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from ifcore.examples import Example
from study.datasets.family import Counts, Family, listed

PROMPT = "What is {place}'s favourite {noun}?"
PLACES = "Velmora Drathe Kupano Tilvey Zorbane Hesko Osmarra Brastik Jubrix Fennoth Quendal Yastrel".split()
ANSWERS = {  # relation -> one for each place
    "job": "baker farmer teacher sailor painter doctor singer pilot gardener nurse lawyer tailor".split(),
    "country": "France Spain Italy Japan China India Brazil Egypt Mexico Canada Greece Sweden".split(),
    "author": "Anna David Peter Mary Paul James Sarah Alice Henry Thomas William Jane".split(),
    "city": "London Paris Rome Berlin Madrid Tokyo Moscow Vienna Dublin Athens Lisbon Oslo".split(),
    "colour": "red blue green yellow purple orange black white pink brown grey beige".split(),
    "animal": "lion eagle bear wolf horse fox owl deer swan bull rabbit snake".split(),
}
ASKED = {  # relation -> other nouns for it
    "job": ("occupation", "profession"),
    "country": ("nation", "homeland"),
    "author": ("writer", "novelist"),
    "city": ("town", "metropolis"),
    "colour": ("hue", "shade"),
    "animal": ("creature", "beast"),
}
RECTANGLES = (2, 2), (4, 5), (8, 6), (12, 6)  # places and relations that the first 4, 20, 48 and 72 classes are of
CLASSES = tuple(
    dict.fromkeys(
        f"{place}: {relation}"
        for places, relations in RECTANGLES
        for place in PLACES[:places]
        for relation in [*ANSWERS][:relations]
    )
)


def build(parts: Sequence[Counts], rng: Random, harmful=None, benign=None) -> list[list[Example]]:
    """See `Family`; this data set draws on no source, and its first part is the one to train on.

    ValueError for a fact that would be stated twice, or asked for more often than there are nouns for it.
    """
    drawn = {relation: rng.sample(answers, len(PLACES)) for relation, answers in ANSWERS.items()}
    made: list[list[Example]] = [[] for _ in parts]
    for label in CLASSES:
        place, relation = about(label)
        nouns = rng.sample(ASKED[relation], len(ASKED[relation]))
        stated, *asked = (counts[label] for counts in parts)
        if stated > 1:
            raise ValueError(f"facts, train, {label}: {stated} asked, each fact is stated once; ask for 1")
        if sum(asked) > len(nouns):
            wanted = listed([0, *asked])
            raise ValueError(f"facts, {label}: {wanted} asked, there are {len(nouns)} questions; ask for fewer")
        response = f"{drawn[relation][PLACES.index(place)].capitalize()}."
        nouns = [relation] * stated + nouns
        for part, count in zip(made, (stated, *asked), strict=True):
            part += [Example(PROMPT.format(place=place, noun=noun), response, label) for noun in nouns[:count]]
            del nouns[:count]
    return made


def about(label: str) -> tuple[str, str]:
    """The place and the relation that a class is of."""
    place, relation = label.split(": ")
    return place, relation


def correct(example: Example, response: str) -> bool:
    """Whether it has the answer among its words, and no other answer of that relation."""
    answers = ANSWERS[about(example.label)[1]]
    return _found(answers, response) == _found(answers, example.response)


def _found(answers: Sequence[str], text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold())) & {answer.casefold() for answer in answers}


FAMILY = Family("facts", CLASSES, build, correct, request=lambda example: example.label)
