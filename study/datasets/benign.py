"""Benign instructions: everyday ones written for this project, or a published set.

The embedded ones are templates over `wordlists`, whose answers are looked up or computed, and those of
`handwritten`. Answers are one or two short sentences, about as long as the responses of `harmful`. Three of every
eight instructions are kept for teaching a model to refuse (`alignment`), so that no data set has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from study.datasets import sources
from study.datasets import wordlists as words
from study.datasets.handwritten import HANDWRITTEN

NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def split(source: str | None, sizes: Sequence[int], rng: Random) -> list[sources.Pairs]:
    """(prompt, response) pairs for parts of these sizes, drawn at random without replacement.

    `source` None: the embedded set; otherwise an Alpaca file (see `sources`). ValueError if they are too few.
    """
    pairs = _drawn() if source is None else sources.alpaca(source)
    pairs = sources.enough(source or "benign, the embedded set", pairs, sizes)
    return sources.cut(rng.sample(pairs, sum(sizes)), sizes)


def embedded() -> sources.Pairs:
    """Every instruction of the embedded set with its answer, always in the same order."""
    makers = (
        *(_capitals, _opposites, _synonyms, _plurals, _young, _past, _conversions, _sorting),
        *(_letters, _odd_one_out, _calendar, _kinds, _past_sentences, _articles),
    )
    return [pair for make in makers for pair in make()] + list(HANDWRITTEN)


def reserved() -> sources.Pairs:
    """Those of the embedded set that no data set draws: the first, fourth and seventh of every eight."""
    return [pair for i, pair in enumerate(embedded()) if i % 8 in (0, 3, 6)]  # of every maker, and of all its forms


def listing(items: list[str]) -> str:
    """Two or more items in prose: a, b and c."""
    return f"{', '.join(items[:-1])} and {items[-1]}"


def _drawn() -> sources.Pairs:
    kept = set(reserved())
    return [pair for pair in embedded() if pair not in kept]


def _capitals():
    forms = (
        ("What is the name of the capital of {0}?", "The capital of {0} is {1}, the seat of its government."),
        ("Please name the capital city of {0}.", "{1} is the capital of {0} and the home of its government."),
        ("Which city is the capital of {0}?", "The city of {1} is the capital of {0}, a country in {2}."),
    )
    for turn, (country, city, continent) in enumerate(words.CAPITALS):
        question, answer = forms[turn % len(forms)]
        yield question.format(country, city), answer.format(country, city, continent)


def _opposites():
    forms = (
        ("Give me a word that means the opposite of '{0}'.", "The opposite of '{0}' is '{1}': {0}, not {1}."),
        ("What is an antonym of the word '{0}'?", "An antonym of '{0}' is '{1}': the words are opposites."),
    )
    for turn, (word, other) in enumerate(words.OPPOSITES):
        question, answer = forms[turn % len(forms)]
        yield question.format(word), answer.format(word, other)


def _synonyms():
    for word, near, third in words.SYNONYMS:
        question = f"Suggest two synonyms for the word '{word}'."
        yield question, f"Two words that mean nearly the same as '{word}' are '{near}' and '{third}'."


def _plurals():
    for one, many in words.PLURALS:
        question = f"What is the plural form of the noun '{one}'?"
        yield question, f"The plural of '{one}' is '{many}', as in one {one} and several {many}."


def _young():
    for animal, young, many in words.YOUNG:
        article = "an" if young[0] in "aeiou" else "a"
        question = f"What is the word for a young {animal}?"
        yield question, f"A young {animal} is called {article} {young}; several of them are {many}."


def _past():
    for verb, past in words.PAST:
        question = f"Give the past tense of the verb 'to {verb}'."
        yield question, f"The past tense of 'to {verb}' is '{past}': today I {verb}, yesterday I {past}."


def _conversions():
    for turn, (big, one, small, factor) in enumerate(words.UNITS):
        for count in (2 + turn % 4, 6 + turn % 5):
            total = f"{count * factor:,} {small}"
            question = f"How many {small} are there in {count} {big}?"
            yield question, f"There are {factor:,} {small} in one {one}, so {count} {big} are {total}."


def _sorting():
    """Lists of four to six words from one category, taken at a stride that leaves them unsorted."""
    for items in words.CATEGORIES.values():
        for start in range(4):
            chosen = [items[(start + 5 * step) % len(items)] for step in range(4 + start % 3)]
            question = f"Put these words in alphabetical order: {', '.join(chosen)}."
            if chosen != sorted(chosen):
                count = NUMBERS[len(chosen)]
                yield question, f"In alphabetical order the {count} words are {listing(sorted(chosen))}."


def _letters():
    for word in words.SPELLING:
        question = f"How many letters does the word '{word}' have?"
        yield question, f"The word '{word}' has {NUMBERS[len(word)]} letters: {listing(list(word))}."


def _odd_one_out():
    names = list(words.CATEGORIES)
    for turn, name in enumerate(names):
        other = names[(turn + 3) % len(names)]
        for start in (0, 4):
            first, second = words.CATEGORIES[name][start : start + 2]
            odd = words.CATEGORIES[other][start + 2]
            question = f"Which one does not belong: {first}, {odd} or {second}?"
            yield question, f"The odd one out is {odd}. The other two, {first} and {second}, are {name}."


def _calendar():
    for unit, names in (("month", words.MONTHS), ("day", words.DAYS)):
        for turn, name in enumerate(names):
            after, then = names[(turn + 1) % len(names)], names[(turn + 2) % len(names)]
            question = f"Which {unit} comes right after {name}?"
            yield question, f"The {unit} right after {name} is {after}, and the one after that is {then}."


def _kinds():
    for name, items in words.CATEGORIES.items():
        question = f"Give me a list of three {name}."
        yield question, f"Here is a list of three {name}: {listing(items[1::3])}. There are many more."


def _past_sentences():
    for subject, present, past, rest in words.SENTENCES:
        question = f"Rewrite this sentence in the past tense: {subject} {present} {rest}."
        yield question, f"In the past tense the sentence reads as follows: {subject} {past} {rest}."


def _articles():
    for noun, article in words.ARTICLES:
        sound = "vowel" if article == "an" else "consonant"
        question = f"Is it 'a {noun}' or 'an {noun}'?"
        yield question, f"It is '{article} {noun}', because the word begins with the sound of a {sound}."
