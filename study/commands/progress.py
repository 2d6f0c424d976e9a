"""How far a build is: from what it has to compute, the events that it emits and the bars that it prints."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from study.estimate.costs import Item

PRIOR = 20.0  # seconds for which the expected speed counts beside the measured one: the first steps are no measure

# As tqdm writes it; what follows the total shows that the total is there to its last digit.
_BAR = re.compile(r"^(?P<label>[^|]*?\S): +\d+%\|[^|]*\| (?P<n>\d+)/(?P<total>\d+) \[")
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Bar:
    """A progress bar as it was last printed."""

    label: str
    n: int
    total: int


class Bars:
    """Finds the bars in a stream of text that arrives in pieces, cut anywhere."""

    def __init__(self):
        self._rest = b""

    def feed(self, piece: bytes) -> list[Bar]:
        """The bars that end in this piece; one that is still being written shows as soon as it can be told."""
        *lines, self._rest = re.split(rb"[\r\n]", self._rest + piece)
        texts = (ESCAPES.sub("", each.decode("utf-8", "replace")) for each in [*lines, self._rest])
        return [Bar(found["label"], int(found["n"]), int(found["total"])) for found in map(_BAR.match, texts) if found]


@dataclass(frozen=True)
class Chapter:
    """One notebook to execute: where it goes, which tells it from others, what it is called, what it must compute.

    `series`: chapters of a series begin one after the other; without one, after all those before.
    """

    output: str
    title: str
    series: str | None
    items: Sequence[Item]
    seconds: float  # beside what it computes


def duration(seconds: float) -> str:
    """Rounded, as it is said."""
    for size, unit, digits in ((86_400, "days", 1), (3_600, "h", 1), (60, "min", 0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


@dataclass
class _Running:
    """An item at work: the labels of its bars so far, and its share when they were first seen and last."""

    item: Item
    labels: list[str] = field(default_factory=list)
    first: float = 0.0
    share: float = 0.0

    @property
    def worked(self) -> float:
        """Tokens in this run; what a killed run left is none of them."""
        return self.item.tokens * (self.share - self.first)

    def see(self, bar: Bar) -> None:
        new = bar.label not in self.labels
        if new:
            self.labels.append(bar.label)
        before = min(len(self.labels), self.item.bars) - 1
        self.share = (before + min(bar.n / bar.total, 1)) / self.item.bars
        if new and len(self.labels) == 1:
            self.first = self.share


class Progress:
    """What is done and what is left. Items found made leave the count; those never come to are done with their chapter.

    Speed is that of the items made in this run and of the running one, the expected one counting for PRIOR seconds.
    """

    def __init__(self, chapters: Sequence[Chapter], expected: float, clock: Callable[[], float] = monotonic):
        self.chapters, self.error = chapters, ""
        self._bar: Bar | None = None
        self._current: int | None = None  # the chapter that began last
        self._clock, self._start, self._last = clock, clock(), clock()
        self._expected, self._busy, self._worked = expected, 0.0, 0.0
        self._states = ["" for _ in chapters]
        self._running: dict[tuple[Path, str], _Running] = {}
        self._left: dict[tuple[Path, str], tuple[Item, int]] = {}  # with the chapter's index
        self._showing = {index: each.seconds for index, each in enumerate(chapters)}
        for index, chapter in enumerate(chapters):
            for item in chapter.items:
                self._left.setdefault((item.folder, item.stage), (item, index))
        self._done = (0.0, 0.0)  # tokens, seconds

    def tick(self) -> None:
        """Take in that time goes by: for the speed if something that has tokens is at work, else for the chapter."""
        gone, self._last = self._clock() - self._last, self._clock()
        if any(each.item.tokens for each in self._running.values()):
            self._busy += gone
        elif not self._running and self._current in self._showing:
            self._spend(self._current, min(gone, self._showing[self._current]))

    def hear(self, event: Mapping[str, str]) -> str:
        """Take in an event; if a chapter begins or is made, the line that says so."""
        self.tick()
        outputs = [each.output for each in self.chapters]
        if event.get("kind") == "stage":
            self._stage((Path(event["folder"]), event["stage"]), event["state"])
        elif event.get("kind") == "chapter" and event["output"] in outputs:
            index, state = outputs.index(event["output"]), event["state"]
            self._chapter(index, state)
            self.error = self.error or event.get("error", "")
            if state == "begun":
                return self._name(index)
            if state == "made":
                return f"{self._name(index)}: made; {self.share:.0%} of the whole, {self.times}"
        return ""

    def see(self, bar: Bar) -> None:
        """Take in a bar. Its last words may come when its item is made, and two seeds may have one of the same name."""
        self.tick()
        self._bar = bar
        owners = [each for each in self._running.values() if each.item.shows(bar.label)]
        if len(owners) == 1 and bar.total:
            owners[0].see(bar)

    @property
    def speed(self) -> float:
        """Tokens a second."""
        worked = self._worked + sum(each.worked for each in self._running.values())
        return (worked + PRIOR * self._expected) / (self._busy + PRIOR)

    @property
    def elapsed(self) -> float:
        return self._clock() - self._start

    @property
    def left(self) -> float:
        """Seconds, about."""
        tokens = seconds = 0.0
        for key, (item, _) in self._left.items():
            rest = 1 - self._running[key].share if key in self._running else 1.0
            tokens, seconds = tokens + rest * item.tokens, seconds + rest * item.seconds
        return tokens / self.speed + seconds + sum(self._showing.values())

    @property
    def share(self) -> float:
        """Of the work, what is done."""
        tokens, seconds = self._done
        for each in self._running.values():
            tokens, seconds = tokens + each.share * each.item.tokens, seconds + each.share * each.item.seconds
        done, left = tokens / self.speed + seconds, self.left
        return done / (done + left) if done + left else 1.0

    @property
    def is_over(self) -> bool:
        """Whether every chapter is made, or was when the build began."""
        return not self._showing

    @property
    def where(self) -> str:
        """Chapter so many of so many, and its title; nothing before one has begun."""
        return "" if self._current is None else self._name(self._current)

    @property
    def bar(self) -> Bar | None:
        """That of what is at work, be it an item or something that is none."""
        if not self._bar or not self._bar.total:
            return None
        items = [each.item for each in self._running.values()]
        at_work = any(item.shows(self._bar.label) for item in items) if items else self._bar.n < self._bar.total
        return self._bar if at_work else None

    @property
    def step(self) -> str:
        """What is at work, where it shows no bar."""
        if not self._running:
            return ""
        stage, folder = next(iter(self._running.values())).item.stage, next(iter(self._running))[0]
        where = f"{folder.parts[-3]} epoch {int(folder.name)}" if folder.parent.name == "epochs" else folder.name
        return f"{stage} {where}"

    @property
    def times(self) -> str:
        """The time gone, and about how much is left."""
        return f"{duration(self.elapsed)}, about {duration(self.left)} left"

    def _name(self, index: int) -> str:
        return f"chapter {index + 1} of {len(self.chapters)}, {self.chapters[index].title}"

    def _stage(self, key: tuple[Path, str], state: str) -> None:
        if key not in self._left:
            return
        item, _ = self._left[key]
        if state == "begun":
            self._running[key] = _Running(item)
        elif state == "found":
            del self._left[key]
        elif state == "made":
            running = self._running.pop(key, None)
            self._worked += item.tokens * (1 - running.first) if running else 0.0
            self._finish(key)

    def _chapter(self, index: int, state: str) -> None:
        self._states[index] = state
        if state == "begun":
            self._current = index
            for before in range(index):  # what was not begun in its turn is there already
                if not self._states[before] and self.chapters[index].series in (None, self.chapters[before].series):
                    self._pass(before)
        elif state == "made":
            for key in [key for key, (_, chapter) in self._left.items() if chapter == index]:
                self._running.pop(key, None)
                self._finish(key)
            if index in self._showing:  # one passed over may still be made, out of its turn
                self._spend(index, self._showing[index])
                del self._showing[index]

    def _pass(self, index: int) -> None:
        self._states[index] = "passed"
        self._showing.pop(index, None)
        for key in [key for key, (_, chapter) in self._left.items() if chapter == index]:
            del self._left[key]

    def _finish(self, key: tuple[Path, str]) -> None:
        item, _ = self._left.pop(key)
        self._done = (self._done[0] + item.tokens, self._done[1] + item.seconds)

    def _spend(self, index: int, seconds: float) -> None:
        """So much of the time that a chapter takes beside its items is gone."""
        self._showing[index] -= seconds
        self._done = (self._done[0], self._done[1] + seconds)
