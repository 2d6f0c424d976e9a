"""Execute one notebook for a profile and a seed, with jupytext and papermill: what the Snakefile calls.

The notebook's progress bars go to standard error, the output appears whole or not at all, and an error is one line.
"""

import argparse
import logging
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

from ifcore import io, sanitize
from study.commands.error_lines import one_line_errors
from study.commands.events import emit
from study.site import links


def execute(source: Path, output: Path, profile: Path, seed: int) -> None:
    """Run the text notebook `source` with every key of the `profile` file and `seed` as parameters; write `output`."""
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of every key that overrides the profile's name
    parameters = yaml.safe_load(profile.read_text(encoding="utf-8")) | {"seed": seed}
    kernel: dict[str, Any] = {"kernel_name": "python3", "language": "python", "cwd": str(Path.cwd())}
    kernel |= {"progress_bar": False, "stderr_file": sys.stderr}
    with tempfile.TemporaryDirectory() as scratch:
        plain, executed = Path(scratch) / source.with_suffix(".ipynb").name, Path(scratch) / "executed.ipynb"
        jupytext.write(jupytext.read(source), plain)
        try:
            papermill.execute_notebook(str(plain), str(executed), parameters, **kernel)
        except PapermillExecutionError as error:
            message = error.evalue or "no message; the log shows where"
            raise RuntimeError(sanitize.printable(f"{source.name}: {error.ename}: {message}")) from None
        except DeadKernelError:
            problem = f"{source.name}: its kernel died, most likely for lack of memory"
            raise RuntimeError(f"{problem}; free some and start again: finished work is kept") from None
        notebook = nbformat.read(executed, as_version=4)
    ran = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    if None in ran:  # papermill takes SystemExit(0) for an end
        raise RuntimeError(f"{source.name}: SystemExit before its last cell; let it run to the end")
    _tidy(notebook)
    links.add_links(notebook, Path.cwd(), output.parent)
    io.write_text(output, nbformat.writes(notebook) + "\n")


def _tidy(notebook: NotebookNode) -> None:
    """Drop papermill's clock readings and the progress bars, and keep its cell of parameters off the page."""
    notebook.metadata.pop("papermill", None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("remove-cell")
        if cell.cell_type == "code":
            cell.outputs = [out for out in cell.outputs if out.get("name") != "stderr"]
            for out in cell.outputs:  # the book takes a picture's words from the cell
                if words := out.get("metadata", {}).get("image/png", {}).get("alt"):
                    cell.metadata.setdefault("mystnb", {}).setdefault("image", {})["alt"] = words


@one_line_errors
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m study.commands.execute", description=__doc__)
    parser.add_argument("profile", type=Path, help="a profile's YAML file")
    parser.add_argument("seed", type=int)
    parser.add_argument("notebook", type=Path, help="a text notebook")
    parser.add_argument("output", type=Path, help="where the executed notebook goes")
    options = parser.parse_args()
    report = partial(emit, output=str(options.output))
    report(state="begun")
    try:
        execute(options.notebook, options.output, options.profile, options.seed)
    except Exception as error:
        report(state="failed", error=str(error))
        raise
    report(state="made")


if __name__ == "__main__":
    sys.exit(main())
