"""`study.datasets.load`: names, classes, counts."""

import pytest

from study import datasets


def test_an_unknown_name_is_answered_with_the_known_ones():
    for call in (lambda: datasets.family("gramars").classes, lambda: datasets.load("gramars", 1, 1, 0)):
        with pytest.raises(ValueError, match=r"^data set 'gramars': unknown; choose .*mixed_sm") as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("train", "val", "message"),
    [
        ({"harm": 3}, 1, "mixed_small, train: unknown class 'harm'; its classes are harmful, benign"),
        (3, {"neutral": 1}, "mixed_small, val: unknown class 'neutral'"),
        (-1, 1, "mixed_small, train, harmful: -1 is no count"),
        ({"benign": 2.5}, 1, r"mixed_small, train, benign: 2\.5 is no count"),
        (3, "many", "mixed_small, val, harmful: 'many' is no count"),
        (True, 1, "mixed_small, train, harmful: True is no count"),
        (0, 1, "mixed_small: train asks for no examples"),
        ({}, 1, "mixed_small: train asks for no examples"),
    ],
)
def test_counts_that_make_no_sense_are_refused(train, val, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        datasets.load("mixed_small", train, val, 0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", datasets.NAMES)
def test_every_data_set_is_balanced_disjoint_and_decided_by_the_seed(name):
    labels, (train, val) = datasets.family(name).classes, (1, 2) if name == "facts" else (6, 3)  # a fact is stated once
    split = datasets.load(name, train, val, seed=5)
    assert [e.label for e in split.train] == [label for label in labels for _ in range(train)]
    assert [e.label for e in split.val] == [label for label in labels for _ in range(val)]
    prompts = [e.prompt for e in split.train + split.val]
    assert len(set(prompts)) == len(prompts)
    assert all(text == text.strip() != "" for e in split.train + split.val for text in (e.prompt, e.response))
    assert datasets.load(name, train, val, seed=5) == split
    assert datasets.load(name, train, val, seed=6) != split


def test_a_class_that_counts_leave_out_has_no_examples():
    split = datasets.load("mixed_small", {"benign": 4}, 0, seed=0)
    assert [e.label for e in split.train] == ["benign"] * 4
    assert split.val == []


def test_classes_named_or_counted_have_examples_and_the_others_none():
    named = datasets.load("grammars", 8, 3, seed=0, dev=1, classes=["uppercase", "capitalise"])
    assert [e.label for e in named.train] == ["capitalise"] * 8 + ["uppercase"] * 8  # in the family's order
    assert [e.label for e in named.val] == ["capitalise"] * 3 + ["uppercase"] * 3
    assert [e.label for e in named.dev] == ["capitalise", "uppercase"]
    first = datasets.load("mathqa", 2, 1, seed=0, classes=3)
    assert {e.label for e in first.train} == {e.label for e in first.val} == set(datasets.family("mathqa").classes[:3])


@pytest.mark.parametrize(
    ("classes", "train", "message"),
    [
        (["harm"], 1, "mixed_small, classes: unknown class 'harm'; its 2 classes are harmful, benign"),
        (3, 1, "mixed_small, classes: 3; its 2 classes are harmful, benign; give 1 to 2, or some of their names"),
        (0, 1, "mixed_small, classes: 0; its 2"),
        (True, 1, "mixed_small, classes: True; its 2"),
        (["benign"], {"harmful": 1}, "mixed_small, train: unknown class 'harmful'; its classes are benign"),
    ],
)
def test_classes_that_there_are_not_are_named_with_those_there_are(classes, train, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        datasets.load("mixed_small", train, 0, 0, classes=classes)
    assert "\n" not in str(error.value)
