"""A notebook that raises, exits or dies: one line with its name, one with the log's; finished work stays."""

import pytest

from tests.torture.conftest import COUNTS, assert_same_tables

CELL = """
```{code-cell} ipython3
%s
```
"""
RAISED = {
    "ValueError('x: 1; give 2')": "facts.md: ValueError: x: 1; give 2",
    "ValueError('one\\ntwo\\r\\nthree\\x0bfour')": "facts.md: ValueError: one two three four",
    "ValueError('\\x1b[2J\\x1b]0;title\\x07\\u202egpj')": "facts.md: ValueError: ?[2J?]0;title??gpj",
    "ValueError('a' * 2**20)": "facts.md: ValueError: aaaaaaaaaa",
    "ValueError()": "facts.md: ValueError: no message; the log shows where",
    "KeyboardInterrupt": "facts.md: KeyboardInterrupt:",
    "SystemExit(3)": "facts.md: SystemExit: 3",
    "SystemExit(0)": "facts.md: SystemExit before its last cell; let it run to the end",
    "ExceptionGroup('two', [ValueError('a')])": "facts.md: CellExecutionError: no message; the log shows where",
}


def first_cell(folder, code: str) -> str:
    """Insert code after the notebook's parameters; returns the original text."""
    source = folder / "notebooks" / "facts.md"
    text = source.read_text()
    first = text.index("```\n", text.index("seed = 0")) + 4
    source.write_text(text[:first] + CELL % code + text[first:])
    return text


@pytest.mark.parametrize("raised", RAISED)
def test_what_a_notebook_raises_is_one_line(make, fresh, raised):
    first_cell(fresh, f"raise {raised}")
    stopped = make(fresh, "run", "NB=facts")
    COUNTS["errors raised"] += 1
    assert stopped.process.returncode != 0
    begun, line, log = stopped.lines
    assert begun == "chapter 1 of 1, Facts"
    assert line.startswith(RAISED[raised]) and line.isprintable() and len(line) < 3000
    assert log == "log: results/smoke/build.log"
    assert not list(fresh.glob("results/smoke/seed-0/*.ipynb"))


@pytest.mark.parametrize("death", ["import os; os._exit(1)", "import os; os.kill(os.getpid(), 9)"])
def test_a_kernel_that_dies_is_reported_with_its_notebook(make, fresh, death):
    first_cell(fresh, death)
    stopped = make(fresh, "run", "NB=facts")
    COUNTS["errors raised"] += 1
    assert stopped.process.returncode != 0
    _, line, log = stopped.lines
    assert line.startswith("facts.md: its kernel died, most likely for lack of memory; free some and start again")
    assert log == "log: results/smoke/build.log"


def test_other_chapters_stay_and_the_next_call_makes_that_one_alone(make, copy, intact):
    text = first_cell(copy, "raise ValueError('x: 1; give 2')")
    chapters = {path: path.stat().st_mtime_ns for path in (copy / "book" / "executed").glob("*.ipynb")}
    page = copy / "_build" / "html" / "book" / "executed" / "facts.html"
    shown = page.read_text(encoding="utf-8")
    stopped = make(copy, "book")
    COUNTS["errors raised"] += 1
    assert stopped.process.returncode != 0
    assert stopped.lines[-2:] == ["facts.md: ValueError: x: 1; give 2", "log: results/smoke/build.log"]
    assert page.read_text(encoding="utf-8") == shown
    mended = copy / "notebooks" / "facts.md"
    mended.write_text(text + "\nMended.\n")
    last = make(copy, "book")
    assert last.process.returncode == 0, last.output
    changed = {path.stem for path, born in chapters.items() if path.stat().st_mtime_ns != born}
    assert changed == {"facts", "introduction", "conclusion"}  # these two read all tables
    assert "Mended." in page.read_text(encoding="utf-8")
    assert_same_tables(copy, intact)
