"""How a build shows: in two lines that stay where they are on a terminal, in a line a chapter elsewhere."""

from __future__ import annotations

import shutil
from typing import TextIO

from tqdm import tqdm

from study.commands.progress import Progress


class Screen:
    """Standard output. On a terminal two lines are drawn again and again, and taken away at the end."""

    def __init__(self, stream: TextIO):
        self._stream, self._is_terminal = stream, stream.isatty()
        self._ascii = (stream.encoding or "").lower().replace("-", "") != "utf8"

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        self.show("")

    def draw(self, progress: Progress) -> None:
        """The whole and, under it, what is at work."""
        if not progress.is_known:
            return self.show("checking what is already there")
        if progress.is_over:
            return self.show("all chapters are there; building the pages")
        self.show(self._bar(progress.count, progress.share, progress.times), "; ".join(progress.at_work))

    def show(self, first: str, second: str = "") -> None:
        """Two lines in place of the last ones; nothing where there is no terminal."""
        if self._is_terminal:
            first, second = first[: _width()], second[: _width()]
            print(f"\r\x1b[K{first}\n\x1b[K{second}\x1b[A\r", file=self._stream, end="", flush=True)

    def log(self, line: str) -> None:
        """A line for a file or a pipe; a terminal's bars show the same."""
        if not self._is_terminal:
            print(line, file=self._stream, flush=True)

    def say(self, line: str) -> None:
        """A line that stays, above what is drawn next."""
        print(f"\r\x1b[K{line}\n\x1b[K" if self._is_terminal else line, file=self._stream, flush=True)

    def _bar(self, label: str, share: float, after: str) -> str:
        label, after = (text.replace("{", "{{").replace("}", "}}") for text in (label, after))
        form = f"{label}: {{percentage:3.0f}} %|{{bar}}| {after}"
        return tqdm.format_meter(min(share, 1.0), 1.0, 0, ncols=_width(), ascii=self._ascii, bar_format=form)


def _width() -> int:
    """One column short of the terminal, so that a line never wraps; a terminal of unknown size is taken as 80 wide."""
    return max(shutil.get_terminal_size().columns or 80, 20) - 1
