"""The notebooks that the book shows: which they are, where they lie once executed, and which come last."""

import re
from pathlib import Path

EXECUTED = Path("book", "executed")  # below the root
VERDICTS = ("introduction", "conclusion")  # executed last, for they read the tables of all chapters


def notebook_names(root: Path) -> list[str]:
    """The notebooks that the table of contents names, in its order."""
    return re.findall(rf"{EXECUTED.as_posix()}/(\w+)", (root / "_toc.yml").read_text(encoding="utf-8"))


def chapter_names(root: Path) -> list[str]:
    """The same without the verdicts."""
    return [name for name in notebook_names(root) if name not in VERDICTS]
