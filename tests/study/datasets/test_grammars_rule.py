"""Grammars as released: the rule's name follows from the two sentences, and only that one."""

import re

import pytest

from ifcore.examples import Example
from study import datasets
from study.datasets import grammars, grammars_rule

PROMPT = re.compile(r"Determine the grammar rule: ([a-z ]+) -> (.+)")


def test_each_class_has_a_rule_with_a_name_in_title_case():
    assert tuple(grammars_rule.RULES) == grammars.CLASSES == datasets.family("grammars_rule").classes
    names = set(grammars_rule.RULES.values())
    assert len(names) == 10
    assert all(re.fullmatch(r"[A-Z][a-z]+( ([A-Z][a-z]+|of|in|and|a))+", name) for name in names)


def test_of_all_transformations_only_the_one_named_leads_from_the_sentence_to_the_result():
    sentences = []
    for seed in range(5):
        split = datasets.load("grammars_rule", 20, 5, seed)
        for example in split.train + split.val:
            sentence, result = PROMPT.fullmatch(example.prompt).groups()
            fitting = [label for label, (_, t) in grammars.TRANSFORMATIONS.items() if t(sentence.split()) == result]
            assert fitting == [example.label] and result != sentence
            assert example.response == grammars_rule.RULES[example.label]
        sentences.append([PROMPT.fullmatch(e.prompt)[1] for e in split.train + split.val])
    assert all(len(set(drawn)) == len(drawn) == 250 for drawn in sentences)


def test_an_ambiguous_sentence_is_drawn_again(monkeypatch):
    # Reversed, "a b c" has its ends swapped; sorted, "an egg is old" stays as it is.
    drawn = iter(["the pilot sold cups", "a b c", "the old pilot sold cups", "an egg is old", "the waiter sold lamps"])
    monkeypatch.setattr(grammars_rule, "words", lambda rng: next(drawn).split())
    assert "-> cups sold pilot the" in datasets.load("grammars_rule", {"reverse words": 1}, 0, 0).train[0].prompt
    assert "-> cups sold pilot old the" in datasets.load("grammars_rule", {"reverse words": 1}, 0, 0).train[0].prompt
    assert "-> lamps sold the waiter" in datasets.load("grammars_rule", {"sort words": 1}, 0, 0).train[0].prompt


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("Remove All Vowels", True),
        (" remove  all\nvowels. ", True),
        ("Remove All Vowels!", False),
        ("Remove Vowels", False),
        ("The rule: Remove All Vowels", False),
        ("", False),
    ],
)
def test_a_rule_is_right_but_for_case_blanks_and_a_full_stop(response, right):
    example = Example("?", "Remove All Vowels", "remove vowels")
    assert datasets.family("grammars_rule").correct(example, response) is right
