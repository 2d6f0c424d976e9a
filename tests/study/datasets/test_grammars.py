"""Grammars: every response is checked from the prompt alone, letter by letter."""

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study import datasets

SENTENCE = re.compile(r"[a-z]+( [a-z]+){3,6}")


def judge(instruction, sentence, response):
    """Whether the response follows the instruction, by properties rather than by repeating the transformation."""
    words, result = sentence.split(" "), response.split(" ")
    if "reverse order" in instruction:
        return len(words) == len(result) and all(words[-1 - i] == word for i, word in enumerate(result))
    if "backwards" in instruction:
        return [list(word) for word in result] == [list(reversed(word)) for word in words]
    if "every word with a capital" in instruction:
        return response.lower() == sentence and all(re.fullmatch("[A-Z][a-z]*", word) for word in result)
    if "capital letters" in instruction:
        return response.lower() == sentence and not re.search("[a-z]", response)
    if "vowels" in instruction:
        return [c for c in sentence if c not in set("aeiou")] == list(response) and len(result) == len(words)
    if "twice" in instruction:
        return result[0::2] == words and result[1::2] == words
    if "Swap" in instruction:
        return (result[0], result[-1], result[1:-1]) == (words[-1], words[0], words[1:-1])
    if "every other" in instruction:
        return len(result) == (len(words) + 1) // 2 and all(result[i] == words[2 * i] for i in range(len(result)))
    if "'pure'" in instruction:
        return re.split(" pure ", response) == words
    if "alphabetical" in instruction:
        return Counter(words) == Counter(result) and all(a <= b for a, b in pairwise(result))
    raise AssertionError(f"no check for {instruction!r}")


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9), train=st.integers(1, 12), val=st.integers(0, 12))
def test_every_response_is_right_and_no_sentence_comes_twice(seed, train, val):
    split = datasets.load("grammars", train, val, seed)
    sentences = []
    for example in split.train + split.val:
        instruction, sentence = example.prompt.split(": ")
        assert SENTENCE.fullmatch(sentence), sentence
        assert judge(instruction, sentence, example.response), example
        assert example.response != sentence
        sentences.append(sentence)
    assert len(set(sentences)) == len(sentences) == 10 * (train + val)


def test_each_class_has_one_instruction_of_its_own():
    split = datasets.load("grammars", 5, 0, seed=0)
    pairs = {(e.label, e.prompt.split(": ")[0]) for e in split.train}
    assert len(pairs) == len({label for label, _ in pairs}) == len({words for _, words in pairs}) == 10


@pytest.mark.parametrize("name", ["grammars", "mathqa"])
def test_the_papers_counts_are_reached(name):
    split = datasets.load(name, 90, 10, seed=0)
    labels = datasets.family(name).classes
    assert len(labels) == 10
    assert [e.label for e in split.train] == [label for label in labels for _ in range(90)]
    assert [e.label for e in split.val] == [label for label in labels for _ in range(10)]
    assert len({e.prompt for e in split.train + split.val}) == 1000


def test_counts_beyond_the_distinct_examples_are_refused():
    with pytest.raises(ValueError, match=r"^mathqa, pizza: 100000 train .*; ask for fewer$"):
        datasets.load("mathqa", {"pizza": 100_000}, 0, 0)
