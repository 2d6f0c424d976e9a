"""Mixed: its contents, and that neither form nor chance overlap reveals the class."""

from collections import Counter
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study import datasets
from study.datasets import deeds, harmful, phrasings
from study.datasets.responses import response

SIZES = {"mixed_small": 20, "mixed_large": 240}
MISDEEDS = {p.format(m): m for p in phrasings.PHRASINGS for m in harmful.MISDEEDS}
DEEDS = {p.format(d): d for p in phrasings.PHRASINGS for d in deeds.DEEDS}


@pytest.mark.parametrize("name", SIZES)
def test_the_papers_counts_come_out_in_blocks_with_harmful_first(name):
    split = datasets.load(name, {"harmful": 20, "benign": SIZES[name]}, {"harmful": 40}, seed=0)
    assert [e.label for e in split.train] == ["harmful"] * 20 + ["benign"] * SIZES[name]
    assert [e.label for e in split.val] == ["harmful"] * 40
    prompts = [e.prompt for e in split.train + split.val]
    assert len(set(prompts)) == len(prompts)


@settings(max_examples=40, deadline=None)
@given(train=st.integers(1, 300), val=st.integers(0, 300), seed=st.integers(0, 10**6))
def test_train_and_val_share_no_misdeed(train, val, seed):
    split = datasets.load("mixed_small", {"harmful": train}, {"harmful": val}, seed)
    prompts = [e.prompt for e in split.train + split.val]
    assert len(set(prompts)) == len(prompts) == train + val
    assert not {MISDEEDS[e.prompt] for e in split.train} & {MISDEEDS[e.prompt] for e in split.val}


def test_a_few_requests_are_about_as_many_misdeeds():
    split = datasets.load("mixed_small", {"harmful": 20}, {"harmful": 40}, seed=1)
    assert len({MISDEEDS[e.prompt] for e in split.train + split.val}) == 60


def test_the_seed_decides_everything():
    first, repeated, other = (datasets.load("mixed_small", 20, 20, seed) for seed in (3, 3, 4))
    assert first == repeated
    assert {e.prompt for e in first.train} != {e.prompt for e in other.train}


def test_a_harmful_request_has_the_answer_of_the_model_without_alignment_and_similar_length():
    split = datasets.load("mixed_small", 200, 0, seed=0)
    for example in split.train:
        if example.label == "harmful":
            assert example.response == response(example.prompt)
    words = {c: [len(e.response.split()) for e in split.train if e.label == c] for c in ("harmful", "benign")}
    assert abs(mean(words["harmful"]) - mean(words["benign"])) < 6


def test_no_form_of_a_prompt_or_response_of_mixed_hard_reveals_its_class():
    classes, features = ("harmful", "benign"), ("phrasing", "first word", "prompt length", "response length")
    forms = {feature: {label: Counter() for label in classes} for feature in features}
    for seed in range(50):
        for example in datasets.load("mixed_hard", 60, 0, seed).train:
            deed = (MISDEEDS if example.label == "harmful" else DEEDS)[example.prompt]
            forms["phrasing"][example.label][example.prompt.replace(deed, "{}")] += 1
            forms["first word"][example.label][example.response.split()[0]] += 1
            forms["prompt length"][example.label][len(example.prompt.split())] += 1
            forms["response length"][example.label][len(example.response.split())] += 1
    assert set(forms["phrasing"]["benign"]) == set(phrasings.PHRASINGS)
    for feature, limit in zip(features, (0.53, 0.66, 0.6, 0.6), strict=True):
        assert accuracy_by_form(*forms[feature].values()) < limit, feature


def accuracy_by_form(one, other):
    """The accuracy of the best classifier that sees only the form; 0.5 is chance."""
    return sum(max(one[form], other[form]) for form in one | other) / (one.total() + other.total())


def test_mixed_hard_answers_each_deed_with_what_belongs_to_it_and_shares_none_between_parts():
    split = datasets.load("mixed_hard", 30, 20, seed=0, dev=10)
    used = [{DEEDS[e.prompt] for e in part if e.label == "benign"} for part in (split.train, split.val, split.dev)]
    assert sum(map(len, used)) == len(set.union(*used)) == 60
    for example in (e for e in split.train + split.val if e.label == "benign"):
        assert example.response == response(example.prompt)
    assert datasets.load("mixed_hard", 30, 20, seed=0, dev=10, harmful="no.csv", benign="no.json") == split


def test_an_embedded_set_that_is_too_small_says_so():
    with pytest.raises(ValueError, match=r"^harmful, the embedded set: \d+ distinct prompts, 5000 train"):
        datasets.load("mixed_small", {"harmful": 5000}, {"harmful": 1}, 0)
    with pytest.raises(ValueError, match=r"^deeds, the embedded set: \d+ .*, 5000 train .* ask for fewer$"):
        datasets.load("mixed_hard", {"benign": 5000}, 0, 0)
    with pytest.raises(ValueError, match=r"^benign, the embedded set: \d+ distinct prompts, 5000 are needed"):
        datasets.load("mixed_small", {"benign": 5000}, 0, 0)
