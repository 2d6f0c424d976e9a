"""Under a table or a figure of the book: its CSV, its SVG, and the cell that made it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from nbformat import NotebookNode, v4

from ifcore import io

FOLDER = "files"  # beside the executed notebooks


def link(notebook: NotebookNode, root: Path, folder: Path) -> None:
    """Put a line of links under each output that says what it was made of (`show.table`, `show.plot`).

    `folder` is where the executed notebook is about to be: a file that is elsewhere below `root` is copied to files/ in
    it. The cell is shown where the page leaves it out.
    """
    cells = []
    for cell in notebook.cells:
        cells.append(cell)
        outputs = cell.outputs if cell.cell_type == "code" else []
        made = [out.metadata["made"] for out in outputs if "made" in out.get("metadata", {})]
        tags = cell.metadata.get("tags", [])
        if not made or "remove-cell" in tags or "remove-output" in tags:
            continue
        names = dict.fromkeys(name for each in made for name in each)
        parts = [" · ".join(f"{{download}}`{Path(name).name} <{_near(root / name, folder)}>`" for name in names)]
        if "remove-input" in tags:
            parts.append(_cell(cell.source))
        if text := "\n\n".join(filter(None, parts)):
            cells.append(v4.new_markdown_cell(f"::::{{div}} made\n{text}\n::::", id=f"{cell.id}-made"))
    notebook.cells = cells


def linked(text: str) -> set[str]:
    """The files in files/ that an executed notebook links to."""
    return set(re.findall(rf"<{FOLDER}/([\w.-]+)>", text))


def _near(file: Path, folder: Path) -> str:
    """The file's name, or that of its copy, from `folder`."""
    if file.parent.resolve() == folder.resolve():
        return file.name
    io.write(folder / FOLDER / file.name, lambda draft: shutil.copyfile(file, draft))
    return f"{FOLDER}/{file.name}"


def _cell(source: str) -> str:
    opened = "```{raw} html\n<details><summary>the cell that made it</summary>\n```"
    return f"{opened}\n```python\n{source}\n```\n```{{raw}} html\n</details>\n```"
