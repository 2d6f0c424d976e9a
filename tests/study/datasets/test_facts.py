"""Facts: one statement answers a question, and shared words do not tell it from the others about its place."""

from itertools import product

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from study import datasets
from study.datasets import facts

RECTANGLES = {4: (2, 2), 20: (4, 5), 48: (8, 6), 72: (12, 6)}


@pytest.mark.parametrize("classes", RECTANGLES)
def test_the_first_classes_are_all_relations_of_some_places(classes):
    pairs = [tuple(label.split(": ")) for label in datasets.select_classes("facts", classes)]
    places, relations = (list(dict.fromkeys(column)) for column in zip(*pairs, strict=True))
    assert (len(places), len(relations)) == RECTANGLES[classes]
    assert sorted(pairs) == sorted(product(places, relations))


@pytest.mark.parametrize("classes", RECTANGLES)
def test_to_tf_idf_all_statements_about_a_place_are_the_same_and_all_others_less_in_20_seeds(classes):
    for seed in range(20):
        split = datasets.load("facts", 1, 2, seed, classes=classes)
        vectorizer = TfidfVectorizer()
        train = vectorizer.fit_transform(example.prompt for example in split.train)
        similarity = (vectorizer.transform(example.prompt for example in split.val) @ train.T).toarray()  # [M, N]
        places = [np.array([e.label.split(": ")[0] for e in part]) for part in (split.train, split.val)]
        same = places[0] == places[1][:, None]
        assert np.ptp(similarity[same]) < 1e-12 and np.ptp(similarity[~same]) < 1e-12
        assert similarity[same].min() > similarity[~same].max() + 0.1


def test_a_fact_is_stated_once_and_asked_for_in_prompts_that_all_differ_and_have_one_answer():
    split = datasets.load("facts", 1, 1, seed=0, dev=1)
    every = split.train + split.val + split.dev
    assert [e.label for e in split.train] == list(facts.CLASSES)
    assert len({e.prompt for e in every}) == len(every) == 3 * 72
    assert len({(e.label, e.response) for e in every}) == 72
    assert all(e.label.split(": ")[0] in e.prompt for e in every)


def test_no_two_facts_have_the_same_answer_in_20_seeds():
    for seed in range(20):
        assert len({e.response for e in datasets.load("facts", 1, 1, seed).train}) == 72


def test_a_place_has_the_same_answers_whatever_the_classes_and_sizes():
    small, large = datasets.load("facts", 1, 1, 3, classes=20), datasets.load("facts", 1, 1, 3, dev=1)
    assert small.train == large.train[:20]


def test_an_answer_is_right_for_its_own_fact_alone():
    train = datasets.load("facts", 1, 1, seed=0).train
    right = [[facts.correct(one, f"It is {other.response.lower()}") for other in train] for one in train]
    assert (np.array(right) == np.eye(72, dtype=bool)).all()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 2, "val": 1}, "facts, train, Velmora: job: 2 asked, each fact is stated once; ask for 1"),
        ({"train": 1, "val": 2, "dev": 1}, r"facts, Velmora: job: 2 val \+ 1 dev asked, there are 2 questions; ask"),
    ],
)
def test_counts_beyond_the_facts_are_refused(sizes, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        datasets.load("facts", **sizes, seed=0)
    assert "\n" not in str(error.value)
