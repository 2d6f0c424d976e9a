"""Links under a table or a figure of the book to its CSV, its SVG, and the cell that made it."""

import re
import shutil
from itertools import chain
from pathlib import Path

from nbformat import NotebookNode, v4

from ifcore import io

FOLDER = "files"  # beside the executed notebooks


def add_links(notebook: NotebookNode, root: Path, folder: Path) -> None:
    """Put a line of links under each output whose metadata names the files that it was made of.

    `folder` is where the executed notebook will be; files elsewhere below `root` are copied to files/ in it. The cell's
    source is shown where the page leaves it out.
    """
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        tags = cell.metadata.get("tags", [])
        made = [out.metadata["made"] for out in cell.get("outputs", []) if "made" in out.get("metadata", {})]
        if not made or "remove-cell" in tags or "remove-output" in tags:
            continue
        files = [root / name for name in dict.fromkeys(chain.from_iterable(made))]
        parts = [" · ".join(f"{{download}}`{file.name} <{_relative_copy(file, folder)}>`" for file in files)]
        when = [out.metadata["computed"] for out in cell.outputs if out.get("metadata", {}).get("computed")]
        parts[0] = " · ".join(filter(None, (*parts, *when)))
        if "remove-input" in tags:
            parts.append(_cell_source(cell.source))
        if text := "\n\n".join(filter(None, parts)):
            cells.append(v4.new_markdown_cell(f"::::{{div}} made\n{text}\n::::", id=f"{cell.id}-made"))
    notebook.cells = cells


def linked_files(text: str) -> set[str]:
    """The names of the files in files/ that an executed notebook links to."""
    return set(re.findall(rf"<{FOLDER}/([\w.-]+)>", text))


def _relative_copy(file: Path, folder: Path) -> str:
    """The path of the file from `folder`, or that of its copy in files/."""
    if file.parent.resolve() == folder.resolve():
        return file.name
    io.write(folder / FOLDER / file.name, lambda draft: shutil.copyfile(file, draft))
    return f"{FOLDER}/{file.name}"


def _cell_source(source: str) -> str:
    opened = "```{raw} html\n<details><summary>the cell that made it</summary>\n```"
    return f"{opened}\n```python\n{source}\n```\n```{{raw}} html\n</details>\n```"
