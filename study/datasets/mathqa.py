"""MathQA: ten kinds of arithmetic word problem, answered with the reasoning; the class is the kind.

No two problems of a kind have the same numbers, so validation problems are not training problems with other names.
"""

import re
from collections.abc import Sequence
from random import Random

from ifcore.examples import Example
from study.datasets.draw import draw_distinct
from study.datasets.family import Counts, Family, prompt_text

NAMES = "Anna Ben Clara David Emma Felix Grace Henry Iris Jonas Kate Leo Maria Nina Oscar Paula".split()
CITIES = "Arden Brook Calder Denby Elton Farley Gorse Hadley Ilton Kelby Larch Marsh".split()


def build(
    parts: Sequence[Counts], rng: Random, harmful: str | None = None, benign: str | None = None
) -> list[list[Example]]:
    """See `Family`; no source is used."""
    return draw_distinct("mathqa", lambda label: _example(label, rng), parts, key=_numbers)


def correct(example: Example, response: str) -> bool:
    """Whether its last number equals the last of the expected response."""
    return _last_number(response) == _last_number(example.response)


def _last_number(text: str) -> float | None:
    numbers = re.findall(r"(?:(?<!\w)-)?\d+(?:,\d{3})*(?:\.\d+)?", text)
    return float(numbers[-1].replace(",", "")) if numbers else None


def _example(label: str, rng: Random) -> Example:
    question, reason, answer = KINDS[label](rng)
    return Example(question, f"{reason} The answer is {answer}.", label)


def _numbers(example: Example) -> tuple[str, ...]:
    """Problems with the same key count as the same."""
    return example.label, *re.findall(r"\d+", prompt_text(example))


# Each kind returns the question, the reasoning and the answer.


def _pizza(rng: Random) -> tuple[str, str, int]:
    name, pizzas, slices = rng.choice(NAMES), rng.randint(2, 6), rng.choice((4, 6, 8, 10, 12))
    eaten = rng.randint(3, pizzas * slices - 2)
    total = pizzas * slices
    return (
        f"{name} cuts {pizzas} pizzas into {slices} slices each. {eaten} are eaten. How many are left?",
        f"There are {pizzas} x {slices} = {total} slices, and {total} - {eaten} = {total - eaten}.",
        total - eaten,
    )


def _chocolate(rng: Random) -> tuple[str, str, int]:
    name, bags, share = rng.choice(NAMES), rng.randint(2, 15), rng.randint(3, 40)
    return (
        f"{name} packs {bags * share} chocolates into {bags} equal bags. How many chocolates are in each bag?",
        f"The chocolates are shared equally, and {bags * share} / {bags} = {share}.",
        share,
    )


def _coins(rng: Random) -> tuple[str, str, int]:
    name, twos, fives = rng.choice(NAMES), rng.randint(2, 30), rng.randint(2, 9)
    small, large = twos * 2, fives * 5
    return (
        f"{name} has {twos} coins of 2 cents and {fives} coins of 5 cents. How many cents is that?",
        f"{twos} x 2 = {small} and {fives} x 5 = {large}. {small} + {large} = {small + large}.",
        small + large,
    )


def _subway(rng: Random) -> tuple[str, str, int]:
    name, first, rides, minutes = rng.choice(NAMES), rng.randint(1, 15), rng.randint(2, 12), rng.randint(2, 6)
    return (
        f"{name} rides the subway from stop {first} to stop {first + rides}. It takes {minutes} minutes from "
        "one stop to the next. How many minutes is the ride?",
        f"It is {first + rides} - {first} = {rides} stops, and {rides} x {minutes} = {rides * minutes}.",
        rides * minutes,
    )


def _shopping(rng: Random) -> tuple[str, str, int]:
    name, pens, books = rng.choice(NAMES), rng.randint(2, 9), rng.randint(2, 5)
    pen, book = rng.randint(2, 5), rng.randint(6, 12)
    all_pens, all_books = pens * pen, books * book
    return (
        f"{name} buys {pens} pens at {pen} dollars and {books} books at {book} dollars. What is the cost?",
        f"{pens} x {pen} = {all_pens} and {books} x {book} = {all_books}. "
        f"{all_pens} + {all_books} = {all_pens + all_books}.",
        all_pens + all_books,
    )


def _distance(rng: Random) -> tuple[str, str, int]:
    (start, end), speed, hours = rng.sample(CITIES, 2), rng.randint(15, 120), rng.randint(2, 9)
    return (
        f"A train goes from {start} to {end} at {speed} km per hour for {hours} hours. How many km is it?",
        f"Distance is speed times time, so {speed} x {hours} = {speed * hours}.",
        speed * hours,
    )


def _average(rng: Random) -> tuple[str, str, int]:
    name, mean, low, high = rng.choice(NAMES), rng.randint(10, 60), rng.randint(1, 9), rng.randint(1, 9)
    scores = [mean - low, mean + low - high, mean + high]
    rng.shuffle(scores)
    first, second, third = scores
    return (
        f"{name} scores {first}, {second} and {third} points in three games. What is the average score?",
        f"{first} + {second} + {third} = {3 * mean}, and {3 * mean} / 3 = {mean}.",
        mean,
    )


def _change(rng: Random) -> tuple[str, str, int]:
    name, note, first = rng.choice(NAMES), rng.choice((20, 50, 100)), rng.randint(2, 12)
    second = rng.randint(2, note - first - 1)
    spent = first + second
    return (
        f"{name} pays for a {first} dollar lunch and a {second} dollar gift with a {note} dollar note. "
        "How many dollars of change are due?",
        f"{first} + {second} = {spent}, and {note} - {spent} = {note - spent}.",
        note - spent,
    )


def _area(rng: Random) -> tuple[str, str, int]:
    name, length, width = rng.choice(NAMES), rng.randint(10, 50), rng.randint(2, 30)
    return (
        f"{name} has a rectangular garden, {length} metres long and {width} metres wide. What is its area?",
        f"The area is length times width, so {length} x {width} = {length * width} square metres.",
        length * width,
    )


def _ages(rng: Random) -> tuple[str, str, int]:
    name, other = rng.sample(NAMES, 2)
    age, times, later = rng.randint(2, 15), rng.randint(2, 5), rng.randint(2, 15)
    now = age * times
    return (
        f"{name} is {age} years old, and {other} is {times} times as old. How old will {other} be in {later} years?",
        f"{other} is {age} x {times} = {now} years old, and {now} + {later} = {now + later}.",
        now + later,
    )


KINDS = {
    "pizza": _pizza,
    "chocolate": _chocolate,
    "coins": _coins,
    "subway": _subway,
    "shopping": _shopping,
    "distance": _distance,
    "average": _average,
    "change": _change,
    "area": _area,
    "ages": _ages,
}
CLASSES = tuple(KINDS)
FAMILY = Family("mathqa", CLASSES, build, correct)
