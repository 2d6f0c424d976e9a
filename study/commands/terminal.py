"""How a build shows on a terminal, in two lines that stay where they are, and elsewhere."""

from __future__ import annotations

import shutil
from typing import TextIO

from tqdm import tqdm

from study.commands.progress import Progress


class Terminal:
    """Two lines, drawn over and over, and taken away at the end."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self._ascii = (stream.encoding or "").lower().replace("-", "") != "utf8"

    def draw(self, progress: Progress) -> None:
        """The whole, and under it the step at work."""
        if not progress.where:
            return self.say("looking at what is there already")
        if progress.is_over:
            return self.say("the chapters are made; putting them together")
        whole = self._bar(progress.where, progress.share, progress.times)
        bar = progress.bar
        step = self._bar(bar.label, bar.n / bar.total, f"{bar.n}/{bar.total}") if bar else progress.step
        self._write(whole, step)

    def say(self, text: str) -> None:
        """Words in place of the bars."""
        self._write(text, "")

    def tell(self, line: str) -> None:
        """Nothing: a chapter that begins or ends shows in the bar."""

    def close(self) -> None:
        self._stream.write("\r\x1b[K\n\x1b[K\x1b[A")
        self._stream.flush()

    def _bar(self, label: str, share: float, after: str) -> str:
        label, after = (text.replace("{", "{{").replace("}", "}}") for text in (label, after))
        form = f"{label}: {{percentage:3.0f}} %|{{bar}}| {after}"
        return tqdm.format_meter(min(share, 1.0), 1.0, 0, ncols=_width(), ascii=self._ascii, bar_format=form)

    def _write(self, *lines: str) -> None:
        first, second = (line[: _width()] for line in lines)
        self._stream.write(f"\r\x1b[K{first}\n\x1b[K{second}\x1b[A\r")
        self._stream.flush()


class Lines:
    """A line as a chapter begins and as it ends, for a file or a pipe."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def draw(self, progress: Progress) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def tell(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Nothing."""


def _width() -> int:
    """One column short of the terminal, where a line surely doesn't wrap; that of one without a size is taken as 80."""
    return max(shutil.get_terminal_size().columns or 80, 20) - 1
