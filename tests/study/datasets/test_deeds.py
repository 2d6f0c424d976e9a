"""The harmless deeds: none is a misdeed or an instruction of another set."""

from study.datasets import benign, deeds, harmful


def test_there_are_enough_deeds_that_nothing_else_embedded_has():
    assert len(deeds.DEEDS) >= 150
    assert not set(deeds.DEEDS) & set(harmful.MISDEEDS)
    assert [deed for deed in deeds.DEEDS if any(deed in prompt for prompt, _ in benign.embedded())] == []
