"""What is fine-tuned: equal steps for the parts of a mixture."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from study import config
from study.pipeline.task import Task, batch_size
from study.profile import Profile

count = st.integers(0, 60)


def steps(examples, size):
    return len(range(0, examples, size))


@given(harmful=count, benign=count, size=st.integers(1, 40))
def test_each_part_of_a_mixture_has_the_steps_of_the_whole_or_no_batch_size_gives_them(harmful, benign, size):
    assume(harmful + benign)  # none at all is refused where the examples are drawn
    sizes = {"mixed_small": {"train": {"harmful": harmful, "benign": benign}, "val": 1}}
    profile = Profile(profile="p", model="random:tiny-llama", datasets=sizes, batch_size=size)
    whole = Task(config.Run(profile, 0, None), "mixed_small")
    assert batch_size(whole) == size
    wanted = steps(harmful + benign, size)
    for only, examples in (("harmful", harmful), ("benign", benign)):
        part = replace(whole, only=only)
        possible = [each for each in range(1, 61) if examples and steps(examples, each) == wanted]
        if possible:
            assert batch_size(part) in possible
        else:
            with pytest.raises(ValueError, match=f"^mixed_small, train, {only}: {examples}; can't be had in {wanted} "):
                batch_size(part)
