import re

import pytest

from study.commands.progress import PRIOR, Progress, duration
from study.commands.work_plan import Piece


@pytest.fixture
def clock():
    """A clock that is set by hand: clock.now."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def piece(output, seconds, after=(), priority=0):
    return Piece(output, f"the {output}", [], [], list(after), "", seconds, 0, 0, priority)


@pytest.fixture
def progress(clock):
    """Two long jobs and a short one, two at a time, then a chapter and ten seconds of pages."""
    pieces = [piece("a", 100, priority=120), piece("b", 60, priority=80), piece("c", 30, priority=50)]
    progress = Progress([*pieces, piece("chapter", 20, ("a", "b", "c"), 20)], 2, 10.0, clock)
    for output in ("a", "b", "c", "chapter"):
        assert tell(progress, output, "needed") == ""
    return progress


def tell(progress, output, state, error=""):
    return progress.on_event({"output": output, "state": state, "error": error})


def test_before_anything_is_known_nothing_is_left(clock):
    progress = Progress([piece("a", 10)], 2, 10.0, clock)
    assert (progress.is_known, progress.is_over, progress.left) == (False, False, 0.0)


def test_what_is_left_is_the_longest_way_through_two_places(progress):
    assert progress.left == 100 + 20 + 10  # b and c, one after the other, are done before a
    assert progress.share == 0
    progress.at_a_time = 1
    assert progress.left == 100 + 60 + 30 + 20 + 10


def test_what_is_not_needed_is_not_waited_for(clock):
    progress = Progress([piece("a", 100), piece("chapter", 20, ("a",))], 2, 0.0, clock)
    tell(progress, "chapter", "needed")
    assert progress.left == 20
    assert tell(progress, "no such piece", "made") == ""


def test_what_comes_after_something_needed_is_waited_for_before_it_is_known_that_it_is_needed(clock):
    progress = Progress([piece("chapter", 20, (), 30), piece("verdicts", 10, ("chapter",), 10)], 2, 0.0, clock)
    tell(progress, "chapter", "needed")
    assert (progress.left, progress.count) == (30, "0 of 1")


def test_time_goes_by_while_pieces_are_at_work(progress, clock):
    tell(progress, "a", "begun")
    tell(progress, "b", "begun")
    clock.now = 40
    assert progress.left == 60 + 20 + 10
    assert progress.share == pytest.approx(80 / (210 + 10))
    assert progress.at_work == ["the a 40 s of 2 min", "the b 40 s of 60 s"]


def test_a_slow_machine_is_known_by_what_it_made_beside_a_prior(progress, clock):
    tell(progress, "b", "begun")
    clock.now = 120
    line = tell(progress, "b", "made")
    scale = (PRIOR + 120) / (PRIOR + 60)
    assert progress.scale == pytest.approx(scale)
    assert progress.left == pytest.approx(scale * (100 + 20) + 10)
    assert line == f"the b: made in 2 min; 1 of 4, {progress.share:.0%}, 2 min, about {duration(progress.left)} left"


def test_what_takes_longer_than_it_should_shows_before_it_is_made(progress, clock):
    tell(progress, "c", "begun")
    clock.now = 29
    assert progress.scale == 1
    clock.now = 90
    assert progress.scale == pytest.approx((PRIOR + 90) / (PRIOR + 30))


def test_the_pages_are_left_when_all_pieces_are_made(progress):
    for output in ("a", "b", "c", "chapter"):
        assert tell(progress, output, "begun") == f"the {output}: begun"
        tell(progress, output, "made")
    assert (progress.is_over, progress.left) == (True, 10)


def test_the_first_error_is_kept(progress):
    tell(progress, "a", "failed", "x: 1; give 2")
    tell(progress, "b", "failed", "another")
    assert progress.error == "x: 1; give 2"


def test_times_are_rounded_as_they_are_said():
    texts = [duration(seconds) for seconds in (0, 89, 90, 600, 5_400, 200_000)]
    assert texts == ["0 s", "89 s", "2 min", "10 min", "1.5 h", "2.3 days"]
    assert all(re.fullmatch(r"[\d.]+ \w+", text) for text in texts)
