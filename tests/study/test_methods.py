"""The two registries together: whatever a table shows has a name, a colour and a sentence in the glossary."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from ifcore.methods import METHODS
from study import methods
from study.chapters.counterfactual import measure
from study.methods import COLOURS, CONTROLS, LEFT_OUT, NAMES, ROWS

GLOSSARY = (Path(__file__).parents[2] / "book" / "glossary.md").read_text(encoding="utf-8")


def test_every_method_and_baseline_has_a_sentence_in_the_glossary():
    terms = re.findall(r"^(\S.*)\n  \S", GLOSSARY, re.MULTILINE)
    assert set(NAMES.values()) <= set(terms)


def test_names_and_colours_tell_methods_apart():
    assert list(NAMES) == list(COLOURS) == [*ROWS, LEFT_OUT] and list(NAMES)[: len(METHODS)] == list(METHODS)
    assert len(set(NAMES.values())) == len(NAMES) and len(set(COLOURS.values())) == len(COLOURS)
    for key in CONTROLS:  # greys
        assert len({COLOURS[key][place : place + 2] for place in (1, 3, 5)}) == 1


@pytest.mark.parametrize(
    ("module", "attribute", "followed", "read"),
    [(methods, methods.attribute, [0, 1], False), (measure, measure.attributed, [], True)],
)
def test_sizes_of_a_chapter_are_not_followed_and_those_of_section_3_not_read_there(
    monkeypatch, module, attribute, followed, read
):
    """Each of the two costs minutes where nothing asks for it."""
    sizes = SimpleNamespace(datasets={"backdoor_1": {"train": 2}})
    run, computed = SimpleNamespace(profile=SimpleNamespace(counterfactual=sizes)), []
    monkeypatch.setattr(methods, "compute_attribution", lambda *_: None)
    monkeypatch.setattr(measure.attributions, "compute_attribution", lambda *_: None)
    monkeypatch.setattr(module, "with_baselines", lambda _, attributions: attributions)
    monkeypatch.setattr(methods.checkpoints, "followed_epochs", lambda _: [0, 1])
    monkeypatch.setattr(methods.checkpoints, "scores", lambda run, attribution, epoch: computed.append(epoch))
    monkeypatch.setattr(methods.checkpoints, "answers", lambda *_: None)
    monkeypatch.setattr(module, "with_readings", lambda *_: computed.append("readings"))
    attribute(run, "backdoor_1")
    assert computed == followed + ["readings"] * read
