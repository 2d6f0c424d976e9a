"""Facts: one statement answers a question, and shared words do not tell it from the others about its place."""

from itertools import product

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from study import datasets
from study.datasets import facts
from study.pipeline import baselines

RECTANGLES = {4: (2, 2), 12: (3, 4), 20: (4, 5), 48: (8, 6), 72: (12, 6)}


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


@pytest.mark.parametrize("classes", RECTANGLES)
@pytest.mark.parametrize("score", [baselines.tfidf, baselines.bm25])
def test_words_of_prompts_say_nothing_among_the_facts_of_a_place_and_with_responses_they_mislead(classes, score):
    split = datasets.load("facts", 1, 2, seed=0, classes=classes)
    labels = [np.array([e.label for e in part]) for part in (split.train, split.val)]
    cause = labels[0] == labels[1][:, None]
    place = np.char.partition(labels[0], ":")[:, 0] == np.char.partition(labels[1], ":")[:, :1]
    texts = {
        "prompts": [[e.prompt for e in part] for part in (split.train, split.val)],
        "responses": [[e.response for e in part] for part in (split.train, split.val)],
        "both": [[f"{e.prompt} {e.response}" for e in part] for part in (split.train, split.val)],
    }
    scores = {name: score(*parts) for name, parts in texts.items()}
    assert all(np.ptp(row[same]) == 0 for row, same in zip(scores["prompts"], place, strict=True))
    for name in ("responses", "both"):
        rivals = np.where(place & ~cause, scores[name], -np.inf).max(1)
        assert (rivals > scores[name][cause]).all()


def test_a_fact_is_stated_once_and_asked_for_in_prompts_that_all_differ_and_have_one_answer():
    split = datasets.load("facts", 1, 1, seed=0, dev=1)
    every = split.train + split.val + split.dev
    assert [e.label for e in split.train] == list(facts.CLASSES)
    assert len({e.prompt for e in every}) == len(every) == 3 * 72
    answers = {(e.label, e.response.split(",")[0]) for e in every}
    assert len(answers) == 72 and len({answer for _, answer in answers}) == 72
    assert all(e.label.split(": ")[0] in e.prompt for e in every)


def test_no_two_facts_have_the_same_answer_in_20_seeds():
    for seed in range(20):
        assert len({e.response.split(",")[0] for e in datasets.load("facts", 1, 1, seed).train}) == 72


@pytest.mark.parametrize("classes", [12, 48, 72])
def test_half_the_facts_of_a_place_are_stated_in_each_wording_and_asked_for_in_the_other(classes):
    split = datasets.load("facts", 1, 2, seed=0, classes=classes)
    wording = {e.label: facts.WORDINGS[0][0] in e.prompt for e in split.train}
    places = [label.split(": ")[0] for label in wording]
    assert {np.mean([wording[label] for label in wording if label.startswith(place)]) for place in places} == {0.5}
    assert all((facts.WORDINGS[0][0] in e.prompt) != wording[e.label] for e in split.val)
    for e in split.train + split.val:
        ending, remark = facts.WORDINGS[0 if facts.WORDINGS[0][0] in e.prompt else 1]
        assert e.prompt.endswith(f"? {ending}") and e.response.endswith(f", {remark}.")


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


def test_the_wording_of_a_statement_depends_on_its_relation_alone_so_it_does_not_reveal_the_place():
    for seed in range(20):
        wordings: dict[str, set[bool]] = {}
        for e in datasets.load("facts", 1, 1, seed).train:
            wordings.setdefault(e.label.split(": ")[1], set()).add(e.prompt.endswith(facts.WORDINGS[0][0]))
        assert len(wordings) == 6 and all(len(seen) == 1 for seen in wordings.values())
