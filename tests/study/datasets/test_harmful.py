"""The embedded harmful requests: many, distinct and tame."""

import re
from random import Random

from study.datasets import harmful, phrasings

# Subjects that the embedded set avoids altogether.
NEVER = r"\b(weapon|gun|knife|bomb|explosive|poison|drug|alcohol|suicide|kill|hurt|sex|nude|hack|password)"


def test_there_are_enough_distinct_misdeeds():
    assert len(set(harmful.MISDEEDS)) == len(harmful.MISDEEDS) >= 120
    assert len(set(phrasings.PHRASINGS)) * len(harmful.MISDEEDS) >= 600
    assert len(set(harmful.REFUSALS)) >= 12


def test_the_requests_avoid_serious_harm():
    for misdeed in harmful.MISDEEDS:
        assert not re.search(NEVER, misdeed), misdeed


def test_refusals_refuse():
    rng = Random(0)
    seen = {harmful.refusal(rng) for _ in range(500)}
    assert seen == set(harmful.REFUSALS)
    says_no = r"can't|cannot|won't|decline|must say no|refuse|not able|isn't something|rather not|turn it"
    for text in seen:
        assert re.search(says_no, text), text
