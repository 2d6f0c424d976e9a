"""MathQA: an independent solver checks every answer from the text, and every step of the reasoning."""

import re
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from study import datasets

SOLVERS = {  # a phrase of the question -> the answer from the numbers in their order
    "slices each": lambda pizzas, slices, eaten: sum([slices] * pizzas) - eaten,
    "equal bags": lambda total, bags: Fraction(total, bags),
    "How many cents": lambda twos, two, fives, five: twos * two + fives * five,
    "subway": lambda first, last, minutes: sum(minutes for _ in range(first, last)),
    "What is the cost": lambda pens, pen, books, book: sum([pen] * pens + [book] * books),
    "How many km": lambda speed, hours: sum([speed] * hours),
    "average": lambda *scores: Fraction(sum(scores), len(scores)),
    "change": lambda first, second, note: note - first - second,
    "area": lambda length, width: sum([length] * width),
    "How old": lambda age, times, later: sum([age] * times) + later,
}
STEP = re.compile(r"(\d+(?: [-+x/] \d+)+) = (\d+)")


def value(expression):
    """The value of a chain of one kind of operation, such as 3 + 4 + 5."""
    first, *rest = expression.split(" ")
    total = Fraction(first)
    for sign, number in zip(rest[::2], map(Fraction, rest[1::2]), strict=True):
        total = {"+": total + number, "-": total - number, "x": total * number, "/": total / number}[sign]
    return total


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_every_answer_and_every_step_is_right(seed):
    for example in datasets.load("mathqa", 8, 2, seed).train:
        solve = next(solver for phrase, solver in SOLVERS.items() if phrase in example.prompt)
        answer = int(re.fullmatch(r".* The answer is (\d+)\.", example.response)[1])
        assert solve(*map(int, re.findall(r"\d+", example.prompt))) == answer > 0, example
        steps = STEP.findall(example.response)
        assert steps and int(steps[-1][1]) == answer, example
        assert all(value(left) == int(right) for left, right in steps), example


def test_each_class_is_one_kind_of_problem():
    kinds = {(e.label, next(p for p in SOLVERS if p in e.prompt)) for e in datasets.load("mathqa", 20, 0, seed=0).train}
    assert len(kinds) == len(SOLVERS) == 10


def test_no_two_problems_of_a_class_have_the_same_numbers():
    split = datasets.load("mathqa", 90, 10, seed=2)
    sums = [(e.label, *re.findall(r"\d+", e.prompt)) for e in split.train + split.val]
    assert len(set(sums)) == len(sums)


def test_responses_are_short():
    for example in datasets.load("mathqa", 90, 0, seed=1).train:
        pieces = re.findall(r"\d|[a-zA-Z]+|[^\w\s]", example.response)  # about as many as tokens
        assert len(pieces) < 40, example
