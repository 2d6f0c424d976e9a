"""The progress of a build: from its plan and the events that its jobs and chapters emit."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from study.commands.work_plan import Piece

PRIOR = 30.0  # seconds for which the expected speed counts beside the measured one


def duration(seconds: float) -> str:
    """Rounded, as it is said."""
    for size, unit, digits in ((86_400, "days", 1), (3_600, "h", 1), (60, "min", 0)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


class Progress:
    """What is made and what is left of the pieces of a plan that are needed, so many at a time.

    The speed is that of the pieces made in this build and of those at work; the expected one counts for PRIOR seconds.
    `ending`: seconds after the last piece, for the pages.
    """

    def __init__(self, pieces: Sequence[Piece], at_a_time: int, ending: float, clock: Callable[[], float] = monotonic):
        self.error, self.at_a_time, self.ending = "", at_a_time, ending
        self._clock, self._start = clock, clock()
        self._pieces = {piece.output: piece for piece in pieces}
        self._needed: set[str] = set()
        self._made: dict[str, float] = {}  # with the seconds that it took
        self._begun: dict[str, float] = {}  # those at work, with the time of their beginning

    def on_event(self, event: Mapping[str, str]) -> str:
        """Take in an event; if a piece begins or is made, the line that says so."""
        output, state = event["output"], event["state"]
        if output not in self._pieces:
            return ""
        self.error = self.error or event.get("error", "")
        self._needed.add(output)
        if state == "begun":
            self._begun[output] = self._clock()
            return f"{self._pieces[output].label}: begun"
        if state == "made":
            self._made[output] = took = self._clock() - self._begun.pop(output, self._clock())
            return (
                f"{self._pieces[output].label}: made in {duration(took)}; {self.count}, {self.share:.0%}, {self.times}"
            )
        if state == "failed":
            self._begun.pop(output, None)
        return ""

    @property
    def lost(self) -> str:
        """Of a build that has failed: what began and neither ended nor said why."""
        labels = [self._pieces[output].label for output in self._begun]
        remedy = "most likely killed, as for lack of memory; free some and start again: finished work is kept"
        return f"{', '.join(labels)}: ended without a word, {remedy}" if labels else ""

    @property
    def is_known(self) -> bool:
        """Whether it is known what has to be made."""
        return bool(self._needed)

    @property
    def is_over(self) -> bool:
        return self.is_known and self._needed == self._made.keys()

    @property
    def at_work(self) -> list[str]:
        """The labels of the pieces at work, with the seconds since they began and those expected."""
        now, lines = self._clock(), []
        for output, begun in self._begun.items():
            expected = max(self.scale * self._pieces[output].seconds, now - begun)
            lines.append(f"{self._pieces[output].label} {duration(now - begun)} of {duration(expected)}")
        return lines

    @property
    def scale(self) -> float:
        """How much longer than expected it takes here: of what is made and, once it takes longer, what is at work."""
        taken, expected = PRIOR + sum(self._made.values()), PRIOR + sum(self._pieces[o].seconds for o in self._made)
        for output, begun in self._begun.items():
            passed, usual = self._clock() - begun, self._pieces[output].seconds
            if passed > usual * taken / expected:
                taken, expected = taken + passed, expected + usual
        return taken / expected

    @property
    def left(self) -> float:
        """Seconds, about: one piece after the other, longest path first, where a place is free once it can begin."""
        now, scale = self._clock(), self.scale
        ends = {o: max(scale * self._pieces[o].seconds - (now - begun), 0.0) for o, begun in self._begun.items()}
        places = sorted([*ends.values(), *[0.0] * self.at_a_time])[-self.at_a_time :]  # when each is free
        waiting = [self._pieces[output] for output in self._expected - self._made.keys() - self._begun.keys()]
        for piece in sorted(waiting, key=lambda piece: -piece.priority):  # so that none comes before those it needs
            ready = max((ends.get(output, 0.0) for output in piece.after), default=0.0)
            place = max((moment for moment in places if moment <= ready), default=min(places))
            ends[piece.output] = max(place, ready) + scale * piece.seconds
            places[places.index(place)] = ends[piece.output]
        return max(ends.values(), default=0.0) + (self.ending if self.is_known else 0.0)

    @property
    def _expected(self) -> set[str]:
        """What is needed, and what comes after it: verdicts, of which it is known late."""
        return self._needed | {output for output, piece in self._pieces.items() if self._needed & set(piece.after)}

    @property
    def share(self) -> float:
        """The share of the work that is done."""
        done, now = sum(self._made.values()), self._clock()
        at_work = {o: self.scale * self._pieces[o].seconds for o in self._begun}
        passed = sum(min(now - self._begun[o], usual) for o, usual in at_work.items())
        left = self.scale * sum(self._pieces[o].seconds for o in self._expected - self._made.keys()) - passed
        total = done + passed + max(left, 0.0) + self.ending
        return (done + passed) / total if total else 1.0

    @property
    def count(self) -> str:
        return f"{len(self._made)} of {len(self._needed)}"

    @property
    def times(self) -> str:
        """The time elapsed, and about how much is left."""
        return f"{duration(self._clock() - self._start)}, about {duration(self.left)} left"
