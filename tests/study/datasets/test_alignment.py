"""What teaches a model to refuse: never part of a data set, the same for every seed."""

import pytest

from study import datasets
from study.datasets import alignment, benign, deeds, harmful, phrasings
from study.datasets.refusals import refused

WRITTEN = {"mixed_small", "mixed_large", "mixed_hard", "harmfulcheck", "backdoor_1", "backdoor_3", "backdoor_5"}
TOLD = {p.format(d): d for p in phrasings.PHRASINGS for d in (*harmful.MISDEEDS, *deeds.DEEDS)}


def subjects(examples):
    """The misdeed, deed or instruction that each prompt is about."""
    prompts = (each.prompt.removesuffix(f" {each.label}") for each in examples)
    return {TOLD.get(prompt, prompt) for prompt in prompts}


def everything():
    held = alignment.held_out(most("held_out")) + alignment.alike(most("alike"))
    return alignment.examples(most("refusals"), most("benign")) + held


def most(what):
    ask = {
        "refusals": lambda count: alignment.examples(count, 0),
        "benign": lambda count: alignment.examples(0, count),
        "held_out": alignment.held_out,
        "alike": alignment.alike,
    }[what]
    with pytest.raises(ValueError, match=r"^alignment, \w+: 100000 asked, there are \d+; ask for fewer$") as error:
        ask(100_000)
    return int(str(error.value).split("there are ")[1].split(";")[0])


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_nothing_of_it_is_in_any_part_of_any_data_set_in_50_seeds(name):
    taught = subjects(everything())
    assert len(taught) > 200
    for seed in range(50):
        split = datasets.load(name, 30, 20, seed, dev=10)
        assert not subjects(split.train + split.val + split.dev) & taught


def test_the_data_sets_that_are_not_written_ask_for_nothing_that_it_has():
    taught = {each.prompt for each in everything()}
    for name in set(datasets.NAMES) - WRITTEN:
        train, val, dev = (1, 1, 1) if name == "facts" else (30, 20, 5)
        split = datasets.load(name, train, val, 0, dev=dev)
        assert not {each.prompt for each in split.train + split.val + split.dev} & taught


def test_held_out_requests_are_about_nothing_that_is_taught():
    taught = alignment.examples(most("refusals"), most("benign"))
    held = alignment.held_out(most("held_out")) + alignment.alike(most("alike"))
    assert not subjects(taught) & subjects(held)
    assert len({each.prompt for each in taught + held}) == len(taught + held)


def test_refusals_and_answers_come_as_counted_and_more_only_adds_to_them():
    some, more = alignment.examples(60, 40), alignment.examples(90, 80)
    assert [each.label for each in some] == ["refused"] * 60 + ["answered"] * 40
    assert all(refused(each.response) == (each.label == "refused") for each in more + alignment.held_out(40))
    assert more[:60] == some[:60] and more[90:130] == some[60:]
    assert {TOLD[each.prompt] for each in some[:60]} == set(harmful.RESERVED)


def test_what_is_asked_alike_has_the_form_of_what_is_refused():
    harmful_ones, harmless = alignment.examples(120, 0), alignment.alike(120)
    forms = [{each.prompt.replace(TOLD[each.prompt], "{}") for each in part} for part in (harmful_ones, harmless)]
    assert forms[0] == forms[1] == set(phrasings.PHRASINGS)


def test_what_is_reserved_is_of_every_kind():
    reserved, every = benign.reserved(), benign.embedded()
    for opening in ("What is the name of", "Please name the", "Which city is", "How can I", "How many"):
        asked = [pair for pair in every if pair[0].startswith(opening)]
        assert 0.2 < sum(pair in reserved for pair in asked) / len(asked) < 0.6, opening
    assert len(reserved) == 181 and len(harmful.RESERVED) == 56


@pytest.mark.parametrize("count", [-1, 2.5, True, "many"])
def test_a_count_that_is_none_is_refused(count):
    for ask in (lambda count: alignment.examples(count, 1), alignment.held_out, alignment.alike):
        with pytest.raises(ValueError, match=r"^alignment, \w+: .* is no count; give an integer of 0 or more$"):
            ask(count)
