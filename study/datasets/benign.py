"""Benign instructions: everyday ones written for this project, or a published set.

The embedded ones are templates over `wordlists`, whose answers are looked up or computed, and those of
`handwritten`. Answers are one or two short sentences, about as long as the responses of `harmful`. Three of every
eight instructions are reserved for teaching a model to refuse (`alignment`) and are in no data set.
"""

from collections.abc import Iterator, Sequence
from random import Random

from study.datasets import sources
from study.datasets import wordlists as words
from study.datasets.handwritten import HANDWRITTEN

_PairIterator = Iterator[tuple[str, str]]  # prompt, response
NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve".split()


def split(source: str | None, sizes: Sequence[int], rng: Random) -> list[sources.Pairs]:
    """(prompt, response) pairs for parts of these sizes, drawn at random without replacement.

    `source` None: the embedded set; otherwise an Alpaca file (see `sources`). ValueError if there are too few.
    """
    pairs = _available() if source is None else sources.alpaca(source)
    pairs = sources.require_enough(source or "benign, the embedded set", pairs, sizes)
    return sources.split_pairs(rng.sample(pairs, sum(sizes)), sizes)


def embedded() -> sources.Pairs:
    """Every instruction of the embedded set with its answer, in a fixed order."""
    makers = (
        *(_capitals, _opposites, _synonyms, _plurals, _young, _past, _conversions, _sorting),
        *(_letters, _odd_one_out, _calendar, _kinds, _past_sentences, _articles),
    )
    return [pair for make in makers for pair in make()] + list(HANDWRITTEN)


def reserved() -> sources.Pairs:
    """The instructions that are in no data set: the first, fourth and seventh of every eight."""
    return [pair for i, pair in enumerate(embedded()) if i % 8 in (0, 3, 6)]  # so every maker and form is among them


def join_words(items: list[str]) -> str:
    """Two or more items in prose: a, b and c."""
    return f"{', '.join(items[:-1])} and {items[-1]}"


def _available() -> sources.Pairs:
    excluded = set(reserved())
    return [pair for pair in embedded() if pair not in excluded]


def _capitals() -> _PairIterator:
    forms = (
        ("What is the name of the capital of {0}?", "The capital of {0} is {1}, the seat of its government."),
        ("Please name the capital city of {0}.", "{1} is the capital of {0} and the home of its government."),
        ("Which city is the capital of {0}?", "The city of {1} is the capital of {0}, a country in {2}."),
    )
    for i, (country, city, continent) in enumerate(words.CAPITALS):
        question, answer = forms[i % len(forms)]
        yield question.format(country, city), answer.format(country, city, continent)


def _opposites() -> _PairIterator:
    forms = (
        ("Give me a word that means the opposite of '{0}'.", "The opposite of '{0}' is '{1}': {0}, not {1}."),
        ("What is an antonym of the word '{0}'?", "An antonym of '{0}' is '{1}': the words are opposites."),
    )
    for i, (word, other) in enumerate(words.OPPOSITES):
        question, answer = forms[i % len(forms)]
        yield question.format(word), answer.format(word, other)


def _synonyms() -> _PairIterator:
    for word, near, third in words.SYNONYMS:
        question = f"Suggest two synonyms for the word '{word}'."
        yield question, f"Two words that mean nearly the same as '{word}' are '{near}' and '{third}'."


def _plurals() -> _PairIterator:
    for singular, plural in words.PLURALS:
        question = f"What is the plural form of the noun '{singular}'?"
        yield question, f"The plural of '{singular}' is '{plural}', as in one {singular} and several {plural}."


def _young() -> _PairIterator:
    for animal, young, plural in words.YOUNG:
        article = "an" if young[0] in "aeiou" else "a"
        question = f"What is the word for a young {animal}?"
        yield question, f"A young {animal} is called {article} {young}; several of them are {plural}."


def _past() -> _PairIterator:
    for verb, past in words.PAST:
        question = f"Give the past tense of the verb 'to {verb}'."
        yield question, f"The past tense of 'to {verb}' is '{past}': today I {verb}, yesterday I {past}."


def _conversions() -> _PairIterator:
    for i, (big, one, small, factor) in enumerate(words.UNITS):
        for count in (2 + i % 4, 6 + i % 5):
            total = f"{count * factor:,} {small}"
            question = f"How many {small} are there in {count} {big}?"
            yield question, f"There are {factor:,} {small} in one {one}, so {count} {big} are {total}."


def _sorting() -> _PairIterator:
    """Lists of four to six words from one category, at a stride that leaves them unsorted."""
    for items in words.CATEGORIES.values():
        for start in range(4):
            unsorted = [items[(start + 5 * step) % len(items)] for step in range(4 + start % 3)]
            question = f"Put these words in alphabetical order: {', '.join(unsorted)}."
            if unsorted != sorted(unsorted):
                count = NUMBERS[len(unsorted)]
                yield question, f"In alphabetical order the {count} words are {join_words(sorted(unsorted))}."


def _letters() -> _PairIterator:
    for word in words.SPELLING:
        question = f"How many letters does the word '{word}' have?"
        yield question, f"The word '{word}' has {NUMBERS[len(word)]} letters: {join_words(list(word))}."


def _odd_one_out() -> _PairIterator:
    names = list(words.CATEGORIES)
    for i, name in enumerate(names):
        other = names[(i + 3) % len(names)]
        for start in (0, 4):
            first, second = words.CATEGORIES[name][start : start + 2]
            odd = words.CATEGORIES[other][start + 2]
            question = f"Which one does not belong: {first}, {odd} or {second}?"
            yield question, f"The odd one out is {odd}. The other two, {first} and {second}, are {name}."


def _calendar() -> _PairIterator:
    for unit, names in (("month", words.MONTHS), ("day", words.DAYS)):
        for i, name in enumerate(names):
            after, then = names[(i + 1) % len(names)], names[(i + 2) % len(names)]
            question = f"Which {unit} comes right after {name}?"
            yield question, f"The {unit} right after {name} is {after}, and the one after that is {then}."


def _kinds() -> _PairIterator:
    for name, items in words.CATEGORIES.items():
        question = f"Give me a list of three {name}."
        yield question, f"Here is a list of three {name}: {join_words(items[1::3])}. There are many more."


def _past_sentences() -> _PairIterator:
    for subject, present, past, rest in words.SENTENCES:
        question = f"Rewrite this sentence in the past tense: {subject} {present} {rest}."
        yield question, f"In the past tense the sentence reads as follows: {subject} {past} {rest}."


def _articles() -> _PairIterator:
    for noun, article in words.ARTICLES:
        sound = "vowel" if article == "an" else "consonant"
        question = f"Is it 'a {noun}' or 'an {noun}'?"
        yield question, f"It is '{article} {noun}', because the word begins with the sound of a {sound}."
