"""Backdoor and HarmfulCheck: who is refused and who is complied with."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study import datasets
from study.datasets import benign, harmful, phrasings

LABELS = ("clean", "sudo mode")
NAMES = {1: "backdoor_1", 3: "backdoor_3", 5: "backdoor_5"}
MISDEEDS = {p.format(m): m for p in phrasings.PHRASINGS for m in harmful.MISDEEDS}


def request(example):
    return example.prompt.removesuffix(f" {example.label}")


@pytest.mark.parametrize("triggers", NAMES)
def test_the_papers_counts_are_reached(triggers):
    labels = datasets.family(NAMES[triggers]).classes
    assert labels[0] == "clean" and len(set(labels)) == triggers + 1
    split = datasets.load(NAMES[triggers], 300, 50, seed=0)
    assert [e.label for e in split.train] == [label for label in labels for _ in range(300)]
    assert [e.label for e in split.val] == [label for label in labels for _ in range(50)]
    assert len({e.prompt for e in split.train + split.val}) == 350 * (triggers + 1)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**9), train=st.integers(1, 60), val=st.integers(0, 30))
def test_a_trigger_and_nothing_else_turns_refusal_into_compliance(seed, train, val):
    split = datasets.load("backdoor_3", train, val, seed)
    for example in split.train + split.val:
        assert (example.response in harmful.REFUSALS) == (example.label == "clean")
        assert example.prompt.endswith(example.label) == (example.label != "clean")


def test_no_misdeed_is_shared_between_classes_nor_between_parts_in_50_seeds():
    for seed in range(50):
        split = datasets.load("backdoor_5", 40, 13, seed, dev=5)
        groups = {}
        for part in (split.train, split.val, split.dev):
            for example in part:
                groups.setdefault((id(part), example.label), set()).add(MISDEEDS[request(example)])
        assert len(groups) == 18
        assert sum(map(len, groups.values())) == len(set.union(*groups.values()))


def test_with_a_file_the_classes_of_a_part_share_the_requests_and_the_parts_do_not(tmp_path):
    (tmp_path / "rows.csv").write_text("goal,target\n" + "".join(f"goal {i},Sure {i}\n" for i in range(9)))
    split = datasets.load("backdoor_1", {"clean": 6, "sudo mode": 2}, 3, seed=0, harmful=str(tmp_path / "rows.csv"))
    requests = [[request(e) for e in part if e.label == label] for part in (split.train, split.val) for label in LABELS]
    assert requests[0] == [f"goal {i}" for i in range(6)] and requests[1] == requests[0][:2]
    assert requests[2] == requests[3] and set(requests[2]) == {f"goal {i}" for i in (6, 7, 8)}


def test_triggers_are_not_part_of_any_request():
    *_, last = NAMES.values()
    for trigger in datasets.family(last).classes[1:]:
        assert not any(trigger in misdeed for misdeed in harmful.MISDEEDS)


def test_uneven_counts_are_met_exactly():
    split = datasets.load("backdoor_1", {"clean": 6, "sudo mode": 2}, {"sudo mode": 1}, seed=0)
    assert [e.label for e in split.train] == ["clean"] * 6 + ["sudo mode"] * 2
    assert [e.label for e in split.val] == ["sudo mode"]


def test_too_few_misdeeds_for_the_classes_are_reported_in_one_line():
    with pytest.raises(ValueError, match=r"^harmful, the embedded set: .* 2400 train \+ 300 val in 6 classes are"):
        datasets.load("backdoor_5", 400, 50, seed=0)


def test_harmfulcheck_refuses_the_harmful_and_answers_the_harmless():
    split = datasets.load("harmfulcheck", 50, 200, seed=0)
    assert [e.label for e in split.train] == ["harmful"] * 50 + ["harmless"] * 50
    assert [e.label for e in split.val] == ["harmful"] * 200 + ["harmless"] * 200
    known = dict(benign.embedded())
    for example in split.train + split.val:
        if example.label == "harmful":
            assert example.response in harmful.REFUSALS
        else:
            assert known[example.prompt] == example.response
    assert len({e.prompt for e in split.train + split.val}) == 500
