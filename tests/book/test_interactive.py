"""Interactive use of a notebook in one kernel: run all, change a value, run all again."""

import jupytext
import nbclient
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell


@pytest.fixture(scope="module")
def notebook(checkout, book):
    """Runs all cells in one kernel: notebook(parameters) -> the number that the last one shows."""
    document = jupytext.read(checkout / "notebooks" / "convergence.md")
    document.cells.append(new_code_cell("print(repr(float(settled)))"))  # with all digits
    client = nbclient.NotebookClient(document, timeout=300, resources={"metadata": {"path": str(checkout)}})
    code = [(i, cell) for i, cell in enumerate(document.cells) if cell.cell_type == "code"]

    def run(parameters: str) -> float:
        code[0][1].source = parameters
        for index, cell in code:
            client.execute_cell(cell, index)
        return float(document.cells[-1].outputs[0]["text"])

    with client.setup_kernel(cwd=str(checkout)):
        yield run


def stability(folder, epoch):
    frame = pd.read_csv(folder / "seed-0" / "fig5_convergence.csv").set_index(["dataset", "metric", "method", "epoch"])
    return frame.value["mixed_small", "stability", "datainf", epoch]


def test_a_changed_value_counts_and_one_changed_back_gives_the_first_numbers_again(notebook, checkout):
    first = notebook('profile = "smoke"\nseed = 0')
    other = notebook('profile = "smoke"\nseed = 0\nepochs = 2\nlearning_rate = 0.01')
    restored = notebook('profile = "smoke"\nseed = 0')
    standard = checkout / "results" / "smoke"
    (changed,) = (file.parents[1] for file in standard.parent.glob("smoke-*/seed-0/fig5_convergence.csv"))
    assert first == restored == pytest.approx(stability(standard, 3), abs=1e-12)
    assert other == pytest.approx(stability(changed, 2), abs=1e-12)
    assert other != first
