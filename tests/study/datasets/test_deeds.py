"""The harmless deeds: none is a misdeed or an instruction of another set, and answers are short and no refusals."""

from study.datasets import benign, deeds, harmful
from study.datasets.refusals import refused


def test_there_are_enough_deeds_that_nothing_else_embedded_has():
    assert len(deeds.DEEDS) >= 150
    assert not set(deeds.DEEDS) & set(harmful.MISDEEDS)
    assert [deed for deed in deeds.DEEDS if any(deed in prompt for prompt, _ in benign.embedded())] == []


def test_answers_are_as_short_as_the_fillers_and_different():
    lengths = {len(answer.split()) for answer in deeds.DEEDS.values()}
    assert max(lengths) <= max(len(filler.split()) for filler in harmful.FILLERS)
    assert len(set(deeds.DEEDS.values())) == len(deeds.DEEDS)
    assert not any(refused(answer) or answer in harmful.FILLERS for answer in deeds.DEEDS.values())
    assert all(answer.endswith(".") and answer[0].islower() for answer in deeds.DEEDS.values())
