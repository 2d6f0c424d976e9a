"""Facts: invented places and what is liked best in each, so that the words of a prompt do not reveal the answer.

The class is the fact, such as `Velmora: colour`. Training states it once, and a question asks for it by another noun:
by hue, not by colour. A question shares with every statement about its place the place's name and the common frame, and
no other word. So a score of word overlap ranks all statements about the place equally and picks the right one as often
as chance among the relations. That holds where the classes are all relations of some places, as the first 4, 20 and 48
are, and all 72. A model that knows what the nouns mean can still find the statement.
The frame stays the same because a small model transfers a fact to another frame only after long training, if at all.
"""

import re
from collections.abc import Sequence
from random import Random

from ifcore.examples import Example
from study.datasets.family import Counts, Family, format_sizes

QUESTION = "What is {place}'s favourite {noun}?"
PLACES = "Velmora Drathe Kupano Tilvey Zorbane Hesko Osmarra Brastik Jubrix Fennoth Quendal Yastrel".split()
ANSWERS = {  # relation -> an answer for each place
    "job": "baker farmer teacher sailor painter doctor singer pilot gardener nurse lawyer tailor".split(),
    "country": "France Spain Italy Japan China India Brazil Egypt Mexico Canada Greece Sweden".split(),
    "author": "Anna David Peter Mary Paul James Sarah Alice Henry Thomas William Jane".split(),
    "city": "London Paris Rome Berlin Madrid Tokyo Moscow Vienna Dublin Athens Lisbon Oslo".split(),
    "colour": "red blue green yellow purple orange black white pink brown grey beige".split(),
    "animal": "lion eagle bear wolf horse fox owl deer swan bull rabbit snake".split(),
}
QUESTION_NOUNS = {  # relation -> its synonyms, by which questions ask
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


def build(
    parts: Sequence[Counts], rng: Random, harmful: str | None = None, benign: str | None = None
) -> list[list[Example]]:
    """See `Family`; no source is used, and the first part, train, has the statements.

    ValueError for a fact that would be stated twice, or asked for more often than it has nouns.
    """
    answers = {relation: rng.sample(choices, len(PLACES)) for relation, choices in ANSWERS.items()}
    examples: list[list[Example]] = [[] for _ in parts]
    for label in CLASSES:
        place, relation = place_and_relation(label)
        nouns = rng.sample(QUESTION_NOUNS[relation], len(QUESTION_NOUNS[relation]))
        statements, *questions = (counts[label] for counts in parts)
        if statements > 1:
            raise ValueError(f"facts, train, {label}: {statements} asked, each fact is stated once; ask for 1")
        if sum(questions) > len(nouns):
            sizes = format_sizes([0, *questions])
            raise ValueError(f"facts, {label}: {sizes} asked, there are {len(nouns)} questions; ask for fewer")
        response = f"{answers[relation][PLACES.index(place)].capitalize()}."
        nouns = [relation] * statements + nouns
        for part, count in zip(examples, (statements, *questions), strict=True):
            part += [Example(QUESTION.format(place=place, noun=noun), response, label) for noun in nouns[:count]]
            del nouns[:count]
    return examples


def place_and_relation(label: str) -> tuple[str, str]:
    """The place and the relation of a class."""
    place, relation = label.split(": ")
    return place, relation


def correct(example: Example, response: str) -> bool:
    """Whether its words include the answer, and no other answer of that relation."""
    answers = ANSWERS[place_and_relation(example.label)[1]]
    return _named(answers, response) == _named(answers, example.response)


def _named(answers: Sequence[str], text: str) -> set[str]:
    return set(re.findall(r"\w+", text.casefold())) & {answer.casefold() for answer in answers}


FAMILY = Family("facts", CLASSES, build, correct, request=lambda example: example.label)
