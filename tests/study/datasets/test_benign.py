"""The embedded benign instructions: true answers, checked from the prompt alone."""

import re

import pytest

from study.datasets import benign

PAIRS = benign.embedded()


def matching(pattern):
    matches = [(m, response) for prompt, response in PAIRS if (m := re.fullmatch(pattern, prompt))]
    assert matches, f"no prompt is of the form {pattern}"
    return matches


def test_there_are_enough_distinct_instructions():
    prompts = {prompt.lower() for prompt, _ in PAIRS}
    assert len(prompts) == len(PAIRS) >= 320
    assert all(response.strip() for _, response in PAIRS)


def test_sorted_lists_are_sorted():
    for m, response in matching(r"Put these words in alphabetical order: (.*)\."):
        words = m[1].split(", ")
        assert re.findall(r"\w+", response.split(" words are ")[1].replace(" and ", " ")) == sorted(words)
        assert words != sorted(words)


def test_conversions_are_right():
    seconds = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800}
    metres = {"millimetres": 0.001, "centimetres": 0.01, "metres": 1, "kilometres": 1000}
    inches = {"inches": 1, "feet": 12, "yards": 36, "miles": 63360}
    grams = {"grams": 1, "kilograms": 1000, "tonnes": 10**6}
    years = {"years": 1, "decades": 10, "centuries": 100}
    other = [{"millilitres": 1, "litres": 1000}, {"ounces": 1, "pounds": 16}, {"cents": 1, "euros": 100}]
    systems = [seconds, metres, inches, grams, years, *other]
    for m, response in matching(r"How many (\w+) are there in (\d+) (\w+)\?"):
        small, count, big = m[1], int(m[2]), m[3]
        system = next(s for s in systems if small in s and big in s)
        total = round(count * system[big] / system[small])
        assert response.endswith(f"so {count} {big} are {total:,} {small}.")


def test_letters_are_counted():
    numbers = "zero one two three four five six seven eight nine ten".split()
    for m, response in matching(r"How many letters does the word '(\w+)' have\?"):
        count, letters = re.fullmatch(r".* has (\w+) letters: (.*)\.", response).groups()
        assert numbers.index(count) == len(m[1])
        assert letters.replace(", ", "").replace(" and ", "") == m[1]


def test_the_odd_one_out_is_in_the_middle_and_named_with_the_right_kind():
    for m, response in matching(r"Which one does not belong: ([\w ]+), ([\w ]+) or ([\w ]+)\?"):
        assert response.startswith(f"The odd one out is {m[2]}. The other two, {m[1]} and {m[3]}, are ")


@pytest.mark.parametrize("names", ["January February March December", "Monday Tuesday Wednesday Sunday"])
def test_the_calendar_goes_on(names):
    *ordered, last = names.split()
    responses = {m[2]: response for m, response in matching(r"Which (month|day) comes right after (\w+)\?")}
    assert f"is {ordered[1]}, and the one after that is {ordered[2]}." in responses[ordered[0]]
    assert f"is {ordered[0]}, and the one after that is {ordered[1]}." in responses[last]
