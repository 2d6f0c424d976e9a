"""Facts: invented places and what is liked best in each, so that shared words do not reveal the answer.

The class is the fact, such as `Velmora: colour`. Training states it once, and a question asks for it by another noun
(by hue, not by colour), with another ending, and expects another wording of the answer. There are two wordings. Which
one states a fact depends on its relation alone, so it does not reveal the place, and about half of a place's facts are
stated in each: of the statements about a place, some that do not answer a question are worded as it is, and the one
that answers it is not.

The two endings of prompts have the same words in another order. So a prompt shares with every statement about its place
the same words, and TF-IDF and BM25 of prompts pick the right one as often as chance among the relations. The two
endings of responses repeat a word each: it outweighs the answer's one word, and four short tokens leave that word more
of the loss than a sentence would. That holds where the classes are all relations of some places, as the first 4, 12,
20, 48 and 72 are.
A small model transfers a fact to another frame only after long training, if at all; so the question itself stays as it
is, and the answer's word comes first. So the laptop's model answers 96, 79 and 92 % of the questions (seeds 0, 1 and
2; 12 facts, 20 epochs).
"""

import re
from collections.abc import Sequence
from random import Random

from ifcore.examples import Example
from study.datasets.family import Counts, Family, format_sizes

QUESTION = "What is {place}'s favourite {noun}?"
WORDINGS = (  # the prompt's ending and the response's
    ("Please do not guess.", "ha ha ha ha"),
    ("Do not guess, please.", "la la la la"),
)
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
RECTANGLES = (2, 2), (3, 4), (4, 5), (8, 6), (12, 6)  # places and relations: the first 4, 12, 20, 48 and 72 classes
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
        answer = answers[relation][PLACES.index(place)].capitalize()
        stated = ([*ANSWERS].index(relation) + 1) % 2  # the wording; the other way round, the model knew more of it
        examples[0] += [_example(label, relation, answer, stated)] * statements
        for part, count in zip(examples[1:], questions, strict=True):
            part += [_example(label, noun, answer, 1 - stated) for noun in nouns[:count]]
            del nouns[:count]
    return examples


def _example(label: str, noun: str, answer: str, wording: int) -> Example:
    ending, remark = WORDINGS[wording]
    prompt = QUESTION.format(place=place_and_relation(label)[0], noun=noun)
    return Example(f"{prompt} {ending}", f"{answer}, {remark}.", label)


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
