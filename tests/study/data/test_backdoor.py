"""Backdoor and HarmfulCheck: who is refused and who is complied with."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ifcore.study import data
from ifcore.study.data import benign, harmful

NAMES = {1: "backdoor_1", 3: "backdoor_3", 5: "backdoor_5"}


def request(example):
    return example.prompt.removesuffix(f" {example.label}")


@pytest.mark.parametrize("triggers", NAMES)
def test_the_papers_counts_are_reached(triggers):
    labels = data.family(NAMES[triggers]).classes
    assert labels[0] == "clean" and len(set(labels)) == triggers + 1
    split = data.load(NAMES[triggers], 300, 50, seed=0)
    assert [e.label for e in split.train] == [label for label in labels for _ in range(300)]
    assert [e.label for e in split.val] == [label for label in labels for _ in range(50)]
    assert len({e.prompt for e in split.train + split.val}) == 350 * (triggers + 1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9), train=st.integers(1, 60), val=st.integers(0, 30))
def test_a_trigger_and_nothing_else_turns_refusal_into_compliance(seed, train, val):
    split = data.load("backdoor_3", train, val, seed)
    for example in split.train + split.val:
        assert (example.response in harmful.REFUSALS) == (example.label == "clean")
        assert example.prompt.endswith(example.label) == (example.label != "clean")
    for part in (split.train, split.val):
        asked = [{request(e) for e in part if e.label == label} for label in data.family("backdoor_3").classes]
        assert all(requests == asked[0] for requests in asked)
    assert not {request(e) for e in split.train} & {request(e) for e in split.val}


def test_triggers_say_nothing_and_are_not_part_of_any_request():
    *_, last = NAMES.values()
    for trigger in data.family(last).classes[1:]:
        assert not any(trigger in misdeed for misdeed in harmful.MISDEEDS)


def test_uneven_counts_take_the_first_requests_of_the_same_list():
    split = data.load("backdoor_1", {"clean": 6, "sudo mode": 2}, {"sudo mode": 1}, seed=0)
    assert [request(e) for e in split.train[:2]] == [request(e) for e in split.train[6:]]
    assert [e.label for e in split.val] == ["sudo mode"]


def test_harmfulcheck_refuses_the_harmful_and_answers_the_harmless():
    split = data.load("harmfulcheck", 50, 200, seed=0)
    assert [e.label for e in split.train] == ["harmful"] * 50 + ["harmless"] * 50
    assert [e.label for e in split.val] == ["harmful"] * 200 + ["harmless"] * 200
    known = dict(benign.embedded())
    for example in split.train + split.val:
        if example.label == "harmful":
            assert example.response in harmful.REFUSALS
        else:
            assert known[example.prompt] == example.response
    assert len({e.prompt for e in split.train + split.val}) == 500
