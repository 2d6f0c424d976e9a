"""Execute one notebook for a profile and a seed: what the Snakefile calls.

A thin front for jupytext and papermill: the progress bars of the notebook go to standard error, the output appears
whole or not at all, and an error is one line.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from ifcore import io, sanitize
from study.pipeline.events import emit
from study.site import links


def execute(source: Path, output: Path, profile: Path, seed: int) -> None:
    """Run the text notebook `source` with every key of the `profile` file and `seed` as parameters; write `output`.

    Raises RuntimeError, in one line, with the error that stopped the notebook.
    """
    logging.getLogger("papermill").setLevel(logging.ERROR)  # it warns of every key that overrides the profile's name
    parameters = yaml.safe_load(profile.read_text(encoding="utf-8")) | {"seed": seed}
    with tempfile.TemporaryDirectory() as scratch:
        plain, executed = Path(scratch) / source.with_suffix(".ipynb").name, Path(scratch) / "executed.ipynb"
        jupytext.write(jupytext.read(source), plain)
        try:
            papermill.execute_notebook(
                str(plain),
                str(executed),
                parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                stderr_file=sys.stderr,
                cwd=str(Path.cwd()),
            )
        except PapermillExecutionError as error:
            words = error.evalue or "without words; the log has where"
            raise RuntimeError(sanitize.printable(f"{source.name}: {error.ename}: {words}")) from None
        except DeadKernelError:
            found = f"{source.name}: its kernel died, as where memory runs out"
            raise RuntimeError(f"{found}; make room and start again: it goes on from here") from None
        notebook = nbformat.read(executed, as_version=4)
        if any(map(_was_passed_over, notebook.cells)):  # papermill takes SystemExit(0) for an end
            raise RuntimeError(f"{source.name}: SystemExit before its last cell; let it run to the end")
    _tidy(notebook)
    links.link(notebook, Path.cwd(), output.parent)
    io.write_text(output, nbformat.writes(notebook) + "\n")


def _was_passed_over(cell) -> bool:
    return cell.cell_type == "code" and bool(cell.source.strip()) and cell.execution_count is None


def _tidy(notebook) -> None:
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


def main() -> int:
    """The command line; errors are one line and a non-zero exit code."""
    parser = argparse.ArgumentParser(prog="python -m study.commands.execute", description=__doc__)
    parser.add_argument("profile", type=Path, help="a profile's YAML file")
    parser.add_argument("seed", type=int)
    parser.add_argument("notebook", type=Path, help="a text notebook")
    parser.add_argument("output", type=Path, help="where the executed notebook goes")
    given = parser.parse_args()
    try:
        emit("chapter", output=str(given.output), state="begun")
        execute(given.notebook, given.output, given.profile, given.seed)
        emit("chapter", output=str(given.output), state="made")
    except (RuntimeError, OSError, ValueError) as error:
        emit("chapter", output=str(given.output), state="failed", error=str(error))
        print(sanitize.printable(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
