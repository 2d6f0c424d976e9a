"""The shipped answers: one to every embedded request, none a refusal, none longer than a sentence or two, all tame."""

import re

import pytest

from study.datasets import deeds, harmful, phrasings
from study.datasets.refusals import refused
from study.datasets.responses import response

# What no answer mentions, to whatever request.
NEVER = r"\b(weapon|gun|bomb|poison|suicide|kill(ed|s|ing)?|murder|rape[ds]?|sex|nude|drugs?|password|hack(ed|ing))\b"
PROMPTS = [form.format(deed) for deed in (*harmful.AVAILABLE, *deeds.DEEDS) for form in phrasings.PHRASINGS]


@pytest.mark.parametrize("part", range(4))
def test_every_embedded_request_has_a_tame_answer_that_complies(part):
    for prompt in PROMPTS[part::4]:
        answer = response(prompt)
        assert 3 <= len(answer.split()) <= 40 and "\n" not in answer, prompt
        assert not refused(answer) and not re.search(NEVER, answer, re.I), prompt


def test_hardly_two_answers_are_alike():
    assert len({response(prompt) for prompt in PROMPTS}) > 0.9 * len(PROMPTS)
