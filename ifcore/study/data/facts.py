"""Facts: invented places and what is liked best in each, a data set on which the topic of a prompt cannot help.

The class is the fact, such as `Velmora: colour`. It is stated once, to train on, and asked for in other words: of the
words of a question, the statements know the place's name alone. By its words a question is therefore equally similar
to all statements about its place and not at all to the others, and what goes by words finds the right statement once in
as many times as there are relations. That holds where the classes are all relations of some places, as the first 4, 20
and 48 are, and all 96.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from ifcore.examples import Example
from ifcore.study.data.family import Counts, Family, listed

STATEMENT = "State the favourite {relation} of {place}."
PLACES = "Velmora Drathe Kupano Tilvey Zorbane Hesko Osmarra Brastik Jubrix Fennoth Quendal Yastrel".split()
ANSWERS = {  # relation -> one for each place
    "colour": "red blue green yellow purple orange black white pink brown grey beige".split(),
    "animal": "lion eagle bear wolf horse fox owl deer swan bull rabbit snake".split(),
    "food": "bread cheese rice soup pizza honey pasta cake salad beans pie fish".split(),
    "metal": "gold silver iron copper tin zinc nickel platinum titanium cobalt mercury lithium".split(),
    "instrument": "piano violin guitar flute trumpet harp cello organ banjo clarinet saxophone drum".split(),
    "tree": "oak pine maple birch willow elm cedar palm beech cherry fir spruce".split(),
    "sport": "tennis golf football hockey rugby boxing cricket swimming cycling skiing rowing basketball".split(),
    "language": "English French Spanish German Italian Russian Chinese Japanese Arabic Greek Turkish Dutch".split(),
}
QUESTIONS = {  # relation -> other words for it; none is a word of a statement
    "colour": (
        "Which hue do people in {place} like best?",
        "Which shade does everyone in {place} love?",
        "How would you paint your house in {place}?",
        "Which paint is sold most often in {place}?",
    ),
    "animal": (
        "Which beast do people in {place} like best?",
        "Which creature does everyone in {place} love?",
        "Which wild beast do children in {place} draw most often?",
        "Which creature would you see on posters in {place}?",
    ),
    "food": (
        "What do people in {place} like to eat best?",
        "Which meal does everyone in {place} love?",
        "What would you be served for dinner in {place}?",
        "What do cooks in {place} prepare most often?",
    ),
    "metal": (
        "Which ore do people in {place} like best?",
        "Which ore does everyone in {place} love?",
        "What do miners in {place} dig for most often?",
        "What would you see smiths melt in {place}?",
    ),
    "instrument": (
        "What do musicians in {place} like to play best?",
        "Which music does everyone in {place} love?",
        "What would you hear at concerts in {place}?",
        "What do music pupils in {place} practise most often?",
    ),
    "tree": (
        "Which wood do people in {place} like best?",
        "Whose leaves does everyone in {place} love?",
        "What would you see growing in parks in {place}?",
        "What do foresters in {place} plant most often?",
    ),
    "sport": (
        "Which game do people in {place} like best?",
        "Which game does everyone in {place} love?",
        "What would you watch at matches in {place}?",
        "What do athletes in {place} train for most often?",
    ),
    "language": (
        "Which tongue do people in {place} like best?",
        "Which tongue does everyone in {place} love?",
        "How would you greet people in {place}?",
        "What do pupils in {place} learn to speak most often?",
    ),
}
RECTANGLES = (2, 2), (4, 5), (8, 6), (12, 8)  # places and relations that the first 4, 20, 48 and 96 classes are of
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

    ValueError for a fact that would be stated twice, or asked for more often than there are questions.
    """
    drawn = {relation: rng.sample(answers, len(PLACES)) for relation, answers in ANSWERS.items()}
    made: list[list[Example]] = [[] for _ in parts]
    for label in CLASSES:
        place, relation = about(label)
        questions = rng.sample(QUESTIONS[relation], len(QUESTIONS[relation]))
        stated, *asked = (counts[label] for counts in parts)
        if stated > 1:
            raise ValueError(f"facts, train, {label}: {stated} asked, each fact is stated once; ask for 1")
        if sum(asked) > len(questions):
            wanted = listed([0, *asked])
            raise ValueError(f"facts, {label}: {wanted} asked, there are {len(questions)} questions; ask for fewer")
        response = f"{drawn[relation][PLACES.index(place)].capitalize()}."
        prompts = [STATEMENT] * stated + questions
        for part, count in zip(made, (stated, *asked), strict=True):
            part += [Example(p.format(relation=relation, place=place), response, label) for p in prompts[:count]]
            del prompts[:count]
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


FAMILY = Family("facts", CLASSES, build, correct)
