"""The embedded harmful requests: many, distinct and tame."""

import re
from random import Random

from ifcore.study.data import harmful

# Subjects that the embedded set stays away from altogether.
NEVER = r"\b(weapon|gun|knife|bomb|explosive|poison|drug|alcohol|suicide|kill|hurt|sex|nude|hack|password|virus|malware)"


def test_there_are_enough_distinct_misdeeds():
    assert len(set(harmful.MISDEEDS)) == len(harmful.MISDEEDS) >= 120
    assert len(set(harmful.PHRASINGS)) * len(harmful.MISDEEDS) >= 600
    assert len(set(harmful.REFUSALS)) >= 12


def test_the_requests_stay_away_from_serious_harm():
    for misdeed in harmful.MISDEEDS:
        assert not re.search(NEVER, misdeed), misdeed


def test_fillers_say_nothing_about_any_misdeed():
    common = set("a the of to at or with by on in and an as two from her it then you".split())
    told = {word for misdeed in harmful.MISDEEDS for word in misdeed.split()} - common
    allowed = {"take", "make", "keep", "feel", "before", "get", "go", "leave", "skip"}
    for filler in harmful.FILLERS:
        assert not set(re.findall(r"\w+", filler)) & (told - allowed), filler


def test_refusals_refuse():
    rng = Random(0)
    seen = {harmful.refusal(rng) for _ in range(500)}
    assert seen == set(harmful.REFUSALS)
    for text in seen:
        assert re.search(r"can't|cannot|won't|decline|must say no|refuse|not able|isn't something|rather not|turn it", text)
