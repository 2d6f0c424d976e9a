"""The two registries together: whatever a table shows has a name, a colour and a sentence in the glossary."""

import re
from pathlib import Path

from ifcore.methods import METHODS
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
