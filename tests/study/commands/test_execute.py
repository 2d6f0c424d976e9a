"""What stops a notebook is said in one line that names it; papermill is a stand-in here."""

import json
import sys

import papermill
import pytest
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from study.commands import execute

SOURCE = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A

```{code-cell} ipython3
x = 1
```

```{code-cell} ipython3
y = 2
```
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command with a papermill that does this: run(execute_notebook) -> exit code, what it printed."""
    (tmp_path / "a.md").write_text(SOURCE)
    (tmp_path / "p.yaml").write_text("profile: p\n")

    def run(execute_notebook):
        monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
        names = [str(tmp_path / name) for name in ("p.yaml", "0", "a.md", "out.ipynb")]
        monkeypatch.setattr(sys, "argv", ["execute", names[0], "0", *names[2:]])
        code = execute.main()
        assert (tmp_path / "out.ipynb").exists() == (code == 0)
        return code, capsys.readouterr().err

    return run


def raising(error):
    def execute_notebook(*_, **__):
        raise error

    return execute_notebook


def test_an_error_of_many_lines_is_one(run):
    error = PapermillExecutionError(1, 1, "", "ValueError", "one\ntwo \x1b[2J", [])
    assert run(raising(error)) == (1, "a.md: ValueError: one two ?[2J\n")


def test_a_kernel_that_died_is_told_by_its_notebook(run):
    code, error = run(raising(DeadKernelError("Kernel died")))
    assert code == 1 and error.startswith(
        "a.md: its kernel died, most likely for lack of memory; free some and start again"
    )


@pytest.mark.parametrize(("counts", "code"), [((1, 2), 0), ((1, None), 1)])
def test_cells_that_were_passed_over_are_no_success(run, counts, code):
    def execute_notebook(plain, executed, *_, **__):
        notebook = json.loads(open(plain, encoding="utf-8").read())
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        for cell, count in zip(cells, counts, strict=True):
            cell["execution_count"] = count
        with open(executed, "w", encoding="utf-8") as stream:
            json.dump(notebook, stream)

    error = "a.md: SystemExit before its last cell; let it run to the end\n" if code else ""
    assert run(execute_notebook) == (code, error)
