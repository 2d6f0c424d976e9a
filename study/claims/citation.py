"""What to paste: the result in a sentence, and the references for it and for the paper's claims."""

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pandas as pd

from ifcore import __version__, io
from study.claims import answer
from study.claims.claims import Claim
from study.config import Run
from study.report.provenance import git
from study.report.table import Prose

PAPER = ("li2025influence", "li2024influence")  # keys in book/references.bib


def citation_text(run: Run, scorecard: pd.DataFrame, claims: Sequence[Claim], folders: Sequence[Path]) -> Prose:
    """The answer with what it rests on, and BibTeX of this book and of the paper's two versions."""
    record = io.read_json(folders[0] / "run.json")
    commit = record.get("commit", "")
    day = git(run.root, "show", "-s", "--format=%cs", commit) if commit else ""
    day = day or f"{date.today():%Y-%m-%d}"
    state = f", commit {commit[:10]}{', changed since' * record.get('dirty', False)}" if commit else ""
    first = answer.sentences(scorecard, claims)[0].replace("**", "")
    made = f"{answer.model_of(run, folders)}, {answer.whose(folders)}"
    text = f"{first} ({made}; ifcore {__version__}{state}, {day}.)"
    software = (
        "@software{ifcore,\n"
        "  title = {The paper that runs: Do influence functions work on large language models?},\n"
        "  author = {{The contributors}},\n"
        f"  version = {{{__version__}}},\n  date = {{{day}}},\n  note = {{{made}}}\n}}"
    )
    bibliography = (run.root / "book" / "references.bib").read_text(encoding="utf-8")
    entries = "\n\n".join([software, *_entries(bibliography)])
    return Prose(f"> {text}\n\n```bibtex\n{entries}\n```")


def _entries(bibliography: str) -> list[str]:
    """Those of the paper."""
    return [match[0].strip() for key in PAPER if (match := re.search(rf"@\w+{{{key},.*?\n}}", bibliography, re.DOTALL))]
