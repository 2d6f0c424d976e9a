"""The progress of a build: from what it has to compute, the events that it emits and the bars that it prints."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from study.commands.error_lines import ESCAPES
from study.estimate.item import Item

PRIOR = 20.0  # seconds for which the expected speed counts beside the measured one: the first steps are no measure

# As tqdm writes it; what follows the total shows that the total is there to its last digit.
_BAR = re.compile(r"^(?P<label>[^|]*?\S): +\d+%\|[^|]*\| (?P<n>\d+)/(?P<total>\d+) \[")

Key = tuple[Path, str]  # an item's folder and stage


@dataclass(frozen=True)
class Bar:
    """A progress bar as it was last printed."""

    label: str
    n: int
    total: int


class Bars:
    """Finds the bars in a stream of text that arrives in pieces, cut anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[Bar]:
        """The bars that end in this piece; one that is still being written shows as soon as its total is whole."""
        *lines, self._rest = re.split(rb"[\r\n]", self._rest + piece)
        texts = (ESCAPES.sub("", line.decode("utf-8", "replace")) for line in [*lines, self._rest])
        return [Bar(bar["label"], int(bar["n"]), int(bar["total"])) for bar in map(_BAR.match, texts) if bar]


@dataclass(frozen=True)
class Chapter:
    """A notebook to execute: its output, which identifies it, its title, and the items that it must compute.

    `series`: chapters of a series begin one after the other; without one, after all those before.
    """

    output: str
    title: str
    series: str | None
    items: Sequence[Item]
    seconds: float  # beside its items


def duration(seconds: float) -> str:
    """Rounded, as it is said."""
    for size, unit, digits in ((86_400, "days", 1), (3_600, "h", 1), (60, "min", 0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


@dataclass
class _Running:
    """A running item: the labels of its bars so far, and its share when they were first seen and last."""

    item: Item
    labels: list[str] = field(default_factory=list)
    first: float = 0.0
    share: float = 0.0

    @property
    def worked(self) -> float:
        """Tokens in this run; what a killed run left is none of them."""
        return self.item.tokens * (self.share - self.first)

    def update(self, bar: Bar) -> None:
        is_first = not self.labels
        if bar.label not in self.labels:
            self.labels.append(bar.label)
        before = min(len(self.labels), self.item.bars) - 1
        self.share = (before + min(bar.n / bar.total, 1)) / self.item.bars
        if is_first:
            self.first = self.share


class Progress:
    """What is done and what is left: items found made leave the count, those never begun are done with their chapter.

    The speed is that of the items made in this run and of the running one; the expected one counts for PRIOR seconds.
    """

    def __init__(self, chapters: Sequence[Chapter], expected: float, clock: Callable[[], float] = monotonic):
        self.chapters, self.error = chapters, ""
        self._bar: Bar | None = None
        self._current: int | None = None  # the chapter that began last
        self._clock, self._start, self._last = clock, clock(), clock()
        self._expected, self._busy, self._worked = expected, 0.0, 0.0
        self._begun: set[int] = set()  # with those that were there already
        self._running: dict[Key, _Running] = {}
        self._left: dict[Key, tuple[Item, int]] = {}  # with the chapter's index
        self._showing = {index: chapter.seconds for index, chapter in enumerate(chapters)}
        for index, chapter in enumerate(chapters):
            for item in chapter.items:
                self._left.setdefault((item.folder, item.stage), (item, index))
        self._tokens_done = self._seconds_done = 0.0

    def tick(self) -> None:
        """Count the time since the last call: for the speed if an item that has tokens runs, else for the chapter."""
        passed, self._last = self._clock() - self._last, self._clock()
        if any(running.item.tokens for running in self._running.values()):
            self._busy += passed
        elif not self._running and self._current in self._showing:
            passed = min(passed, self._showing[self._current])
            self._showing[self._current] -= passed
            self._seconds_done += passed

    def on_event(self, event: Mapping[str, str]) -> str:
        """Take in an event; if a chapter begins or is made, the line that says so."""
        self.tick()
        outputs = [chapter.output for chapter in self.chapters]
        if event.get("kind") == "stage":
            self._on_stage((Path(event["folder"]), event["stage"]), event["state"])
        elif event.get("kind") == "chapter" and event["output"] in outputs:
            index, state = outputs.index(event["output"]), event["state"]
            self._on_chapter(index, state)
            self.error = self.error or event.get("error", "")
            if state == "begun":
                return self._name(index)
            if state == "made":
                return f"{self._name(index)}: made; {self.share:.0%} of the whole, {self.times}"
        return ""

    def on_bar(self, bar: Bar) -> None:
        """Take in a bar. Its last state may come when its item is made, and two seeds may have one of the same name."""
        self.tick()
        self._bar = bar
        owners = [running for running in self._running.values() if running.item.shows(bar.label)]
        if len(owners) == 1 and bar.total:
            owners[0].update(bar)

    @property
    def speed(self) -> float:
        """Tokens a second."""
        worked = self._worked + sum(running.worked for running in self._running.values())
        return (worked + PRIOR * self._expected) / (self._busy + PRIOR)

    @property
    def left(self) -> float:
        """Seconds, about."""
        shares = {key: running.share for key, running in self._running.items()}
        items = sum((1 - shares.get(key, 0.0)) * self._cost(item) for key, (item, _) in self._left.items())
        return items + sum(self._showing.values())

    @property
    def share(self) -> float:
        """The share of the work that is done."""
        running = sum(running.share * self._cost(running.item) for running in self._running.values())
        done = self._tokens_done / self.speed + self._seconds_done + running
        return done / (done + self.left) if done + self.left else 1.0

    @property
    def is_over(self) -> bool:
        """Whether every chapter is made, or was when the build began."""
        return not self._showing

    @property
    def where(self) -> str:
        """The current chapter's number and title; nothing before one has begun."""
        return "" if self._current is None else self._name(self._current)

    @property
    def bar(self) -> Bar | None:
        """The last bar, if it is of a running item or, where no item runs, not at its end."""
        if not self._bar or not self._bar.total:
            return None
        items = [running.item for running in self._running.values()]
        is_current = any(item.shows(self._bar.label) for item in items) if items else self._bar.n < self._bar.total
        return self._bar if is_current else None

    @property
    def step(self) -> str:
        """The stage that runs, for where it shows no bar."""
        if not self._running:
            return ""
        folder, stage = next(iter(self._running))
        where = f"{folder.parts[-3]} epoch {int(folder.name)}" if folder.parent.name == "epochs" else folder.name
        return f"{stage} {where}"

    @property
    def times(self) -> str:
        """The time elapsed, and about how much is left."""
        return f"{duration(self._clock() - self._start)}, about {duration(self.left)} left"

    def _name(self, index: int) -> str:
        return f"chapter {index + 1} of {len(self.chapters)}, {self.chapters[index].title}"

    def _cost(self, item: Item) -> float:
        return item.tokens / self.speed + item.seconds

    def _on_stage(self, key: Key, state: str) -> None:
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

    def _on_chapter(self, index: int, state: str) -> None:
        if state == "begun":
            self._current = index
            for before in set(range(index)) - self._begun:  # what was not begun in its turn is there already
                if self.chapters[index].series in (None, self.chapters[before].series):
                    self._begun.add(before)
                    self._showing.pop(before, None)
                    for key in self._items_of(before):
                        del self._left[key]
        elif state == "made":
            for key in self._items_of(index):
                self._running.pop(key, None)
                self._finish(key)
            self._seconds_done += self._showing.pop(index, 0.0)  # one that was there may still be made, out of its turn
        self._begun.add(index)

    def _items_of(self, index: int) -> list[Key]:
        return [key for key, (_, chapter) in self._left.items() if chapter == index]

    def _finish(self, key: Key) -> None:
        item, _ = self._left.pop(key)
        self._tokens_done += item.tokens
        self._seconds_done += item.seconds
