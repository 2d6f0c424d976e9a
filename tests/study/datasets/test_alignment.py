"""The examples that teach a model to refuse: never part of a data set, the same for every seed."""

import pytest

from study import datasets
from study.datasets import alignment, benign, deeds, harmful, phrasings
from study.datasets.refusals import refused

WRITTEN = {"mixed_small", "mixed_large", "mixed_hard", "harmfulcheck", "backdoor_1", "backdoor_3", "backdoor_5"}
SUBJECTS = {p.format(d): d for p in phrasings.PHRASINGS for d in (*harmful.MISDEEDS, *deeds.DEEDS)}


def subjects(examples):
    """The misdeed, deed or instruction that each prompt is about."""
    prompts = (example.prompt.removesuffix(f" {example.label}") for example in examples)
    return {SUBJECTS.get(prompt, prompt) for prompt in prompts}


def taught_examples():
    return alignment.examples(available("refusals"), available("benign"), available("alike"))


def evaluation_examples():
    return alignment.held_out(available("held_out")) + alignment.lookalikes(available("lookalikes"))


def available(part):
    """How many examples of a part there are at most."""
    make = {
        "refusals": lambda count: alignment.examples(count, 0, 0),
        "benign": lambda count: alignment.examples(0, count, 0),
        "alike": lambda count: alignment.examples(0, 0, count),
        "held_out": alignment.held_out,
        "lookalikes": alignment.lookalikes,
    }[part]
    with pytest.raises(ValueError, match=r"^alignment, \w+: 100000 asked, there are \d+; ask for fewer$") as error:
        make(100_000)
    return int(str(error.value).split("there are ")[1].split(";")[0])


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_no_subject_of_the_alignment_is_in_any_part_of_any_data_set_in_50_seeds(name):
    reserved = subjects(taught_examples() + evaluation_examples())
    assert len(reserved) > 200
    for seed in range(50):
        split = datasets.load(name, 30, 20, seed, dev=10)
        assert not subjects(split.train + split.val + split.dev) & reserved


def test_the_generated_data_sets_share_no_prompt_with_the_alignment():
    reserved = {example.prompt for example in taught_examples() + evaluation_examples()}
    for name in set(datasets.NAMES) - WRITTEN:
        train, val, dev = (1, 1, 1) if name == "facts" else (30, 20, 5)
        split = datasets.load(name, train, val, 0, dev=dev)
        assert not {example.prompt for example in split.train + split.val + split.dev} & reserved


def test_evaluation_requests_share_no_subject_with_the_taught_ones():
    taught, evaluation = taught_examples(), evaluation_examples()
    assert not subjects(taught) & subjects(evaluation)
    assert len({example.prompt for example in taught + evaluation}) == len(taught + evaluation)


def test_refusals_and_answers_come_as_counted_and_larger_counts_only_add_to_them():
    small, large = alignment.examples(60, 40, 20), alignment.examples(90, 80, 50)
    assert [example.label for example in small] == ["refused"] * 60 + ["answered"] * 60
    answers = large + alignment.held_out(40)
    assert all(refused(example.response) == (example.label == "refused") for example in answers)
    assert large[:60] == small[:60] and large[90:130] == small[60:100] and large[170:190] == small[100:]
    assert {SUBJECTS[example.prompt] for example in small[:60]} == set(harmful.RESERVED)


def test_lookalikes_have_the_form_of_the_refused_requests():
    forms = [
        {example.prompt.replace(SUBJECTS[example.prompt], "{}") for example in part}
        for part in (alignment.examples(120, 0, 0), alignment.lookalikes(60), alignment.examples(0, 0, 120))
    ]
    assert forms[0] == forms[1] == forms[2] == set(phrasings.PHRASINGS)


def test_every_kind_of_instruction_is_among_the_reserved_ones():
    reserved = benign.reserved()
    for opening in ("What is the name of", "Please name the", "Which city is", "How can I", "How many"):
        pairs = [pair for pair in benign.embedded() if pair[0].startswith(opening)]
        assert 0.2 < sum(pair in reserved for pair in pairs) / len(pairs) < 0.6, opening
    assert len(reserved) == 181 and len(harmful.RESERVED) == 56


@pytest.mark.parametrize("count", [-1, 2.5, True, "many"])
def test_a_count_that_is_none_is_refused(count):
    for make in (lambda count: alignment.examples(count, 1, 1), alignment.held_out, alignment.lookalikes):
        with pytest.raises(ValueError, match=r"^alignment, \w+: .* is no count; give an integer of 0 or more$"):
            make(count)
