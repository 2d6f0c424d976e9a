from pathlib import Path

import jupytext
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.md"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_as_jupytext_writes_it_so_that_opening_one_changes_nothing(path):
    text = path.read_text(encoding="utf-8")
    assert jupytext.writes(jupytext.reads(text, "md:myst"), "md:myst") == text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_begins_with_its_parameters_and_holds_no_logic(path):
    cells = [cell for cell in jupytext.read(path).cells if cell.cell_type == "code"]
    assert "parameters" in cells[0].metadata.tags
    assert "config.from_notebook(globals())" in cells[1].source
    assert not any(word in cell.source for cell in cells for word in ("for i in", "while ", "class ", "import torch"))
