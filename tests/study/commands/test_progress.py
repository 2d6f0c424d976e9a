import io
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from study.commands.progress import PRIOR, Bar, Bars, Chapter, Progress, duration
from study.estimate.item import Item

EXPECTED = 100.0


def printed(label, total):
    """What tqdm writes for a bar, as the kernel's standard error carries it."""
    stream = io.StringIO()
    for _ in tqdm(range(total), desc=label, file=stream, unit="step", mininterval=0):
        pass
    return stream.getvalue().encode()


STREAM = b"[IPKernelApp] WARNING | Kernel is running: 5/7 [\n" + printed("fine-tuning mathqa", 12)
STREAM += printed("harmful responses by hub:a/b", 3) + b"Select jobs to execute...\n" + printed("", 2)


@given(st.lists(st.integers(0, len(STREAM))))
def test_bars_are_the_same_wherever_the_stream_is_cut(cuts):
    edges = [0, *sorted(cuts), len(STREAM)]
    parser, bars = Bars(), []
    for start, end in itertools.pairwise(edges):
        bars += parser.feed(STREAM[start:end])
    expected = [Bar("fine-tuning mathqa", n, 12) for n in range(13)]
    expected += [Bar("harmful responses by hub:a/b", n, 3) for n in range(4)]
    assert [bar for bar, _ in itertools.groupby(bars)] == expected


@pytest.fixture
def clock():
    """A clock that is set by hand: clock.now."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def item(folder, stage="fine-tune", **fields):
    return Item(Path(folder), stage, **{"label": f"fine-tuning {folder}"} | fields)


def stage(progress, folder, state, stage="fine-tune"):
    progress.on_event({"kind": "stage", "folder": folder, "stage": stage, "state": state})


def chapter(progress, output, state, **fields):
    return progress.on_event({"kind": "chapter", "output": output, "state": state, **fields})


def two_chapters(clock):
    first = Chapter("one", "One", None, [item("a", tokens=1_000), item("b", tokens=3_000)], 10)
    second = Chapter("two", "Two", None, [item("a", tokens=1_000), item("c", seconds=40)], 10)
    return Progress([first, second], EXPECTED, clock)


def test_before_anything_is_measured_the_estimate_is_the_expected_speeds(clock):
    progress = two_chapters(clock)
    assert progress.left == pytest.approx(4_000 / EXPECTED + 40 + 20)
    assert progress.share == 0
    assert progress.where == ""


def test_speed_is_that_of_what_was_made_beside_a_prior_and_waiting_is_no_work(clock):
    progress = two_chapters(clock)
    chapter(progress, "one", "begun")
    clock.now = 50  # the kernel starts
    stage(progress, "a", "begun")
    clock.now = 55
    stage(progress, "a", "made")
    speed = (1_000 + PRIOR * EXPECTED) / (5 + PRIOR)
    assert progress.speed == pytest.approx(speed)
    assert progress.left == pytest.approx(3_000 / speed + 40 + 10)
    assert progress.share == pytest.approx((1_000 / speed + 10) / (4_000 / speed + 60))
    clock.now = 99
    assert progress.speed == pytest.approx(speed)
    assert progress.times.startswith("2 min, ")


def test_a_chapters_own_time_goes_by_while_no_item_is_at_work(clock):
    progress = two_chapters(clock)
    chapter(progress, "one", "begun")
    passed = []
    for clock.now in (4, 9, 30):
        progress.tick()
        passed.append(4_000 / EXPECTED + 60 - progress.left)
    assert passed == pytest.approx([4, 9, 10])


def test_the_running_item_counts_with_the_share_of_its_bar(clock):
    progress = two_chapters(clock)
    stage(progress, "b", "begun")
    clock.now = 10
    progress.on_bar(Bar("fine-tuning b", 0, 30))
    progress.on_bar(Bar("fine-tuning b", 20, 30))
    speed = (2_000 + PRIOR * EXPECTED) / (10 + PRIOR)
    assert progress.speed == pytest.approx(speed)
    assert progress.left == pytest.approx(2_000 / speed + 40 + 20)


def test_what_a_killed_run_left_is_done_but_says_nothing_of_speed(clock):
    progress = two_chapters(clock)
    stage(progress, "b", "begun")
    progress.on_bar(Bar("fine-tuning b", 15, 30))
    assert progress.speed == EXPECTED
    assert progress.left == pytest.approx(2_500 / EXPECTED + 60)
    clock.now = 10
    stage(progress, "b", "made")
    assert progress.speed == pytest.approx((1_500 + PRIOR * EXPECTED) / (10 + PRIOR))


def test_a_bar_is_that_of_the_item_at_work_whose_label_it_has(clock):
    progress = two_chapters(clock)
    stage(progress, "a", "begun")
    progress.on_bar(Bar("fine-tuning a", 9, 10))
    assert progress.bar == Bar("fine-tuning a", 9, 10)
    stage(progress, "a", "made")
    stage(progress, "b", "begun")
    for late in (Bar("fine-tuning a", 10, 10), Bar("fine-tuning b-benign", 3, 4)):
        progress.on_bar(late)
        assert progress.bar is None
        assert progress.step == "fine-tune b"
        assert progress.left == pytest.approx(3_000 / progress.speed + 60)
    progress.on_bar(Bar("fine-tuning b", 1, 4))
    assert progress.left == pytest.approx(2_250 / progress.speed + 60)


def test_between_items_a_bar_shows_until_it_is_full(clock):
    progress = two_chapters(clock)
    progress.on_bar(Bar("harmful responses by hub:a/b", 3, 4))
    assert progress.bar == Bar("harmful responses by hub:a/b", 3, 4)
    progress.on_bar(Bar("harmful responses by hub:a/b", 4, 4))
    assert progress.bar is None


def test_an_item_of_two_bars_is_half_done_with_the_first(clock):
    answers = item("a", "answers", tokens=800, label="answers a", bars=2)
    progress = Progress([Chapter("one", "One", None, [answers], 0)], EXPECTED, clock)
    stage(progress, "a", "begun", "answers")
    shares = []
    for label, n in (("before", 0), ("before", 4), ("after", 0), ("after", 2), ("after", 4)):
        progress.on_bar(Bar(f"answers a {label}", n, 4))
        shares.append(progress.share)
    assert shares == pytest.approx([0, 0.5, 0.5, 0.75, 1])


def test_what_is_found_leaves_the_count_and_what_is_unknown_is_ignored(clock):
    progress = two_chapters(clock)
    stage(progress, "b", "found")
    stage(progress, "a", "found", "no such stage")
    chapter(progress, "three", "begun")
    assert progress.left == pytest.approx(1_000 / EXPECTED + 60)
    assert progress.share == 0
    assert progress.speed == EXPECTED
    assert progress.where == ""


def test_what_never_came_to_be_is_done_with_its_chapter(clock):
    progress = two_chapters(clock)
    assert chapter(progress, "one", "begun") == "chapter 1 of 2, One"
    clock.now = 120
    assert chapter(progress, "one", "made") == "chapter 1 of 2, One: made; 50% of the whole, 2 min, about 50 s left"
    assert progress.left == 50
    assert progress.speed == EXPECTED


def test_a_chapter_that_begins_shows_that_those_before_are_there(clock):
    progress = two_chapters(clock)
    chapter(progress, "two", "begun")
    assert progress.where == "chapter 2 of 2, Two"
    assert progress.left == 50
    assert not progress.is_over
    chapter(progress, "two", "made")
    assert (progress.left, progress.share, progress.is_over) == (0, 1, True)


def test_seeds_at_a_time_do_not_pass_each_other(clock):
    names = ("0", "1", None)
    progress = Progress([Chapter(f"{name}{k}", "T", name, [], 10) for name in names for k in (1, 2)], EXPECTED, clock)
    chapter(progress, "12", "begun")  # the second chapter of seed 1
    assert progress.left == 50
    chapter(progress, "None1", "begun")  # the book comes after all seeds
    assert progress.left == 30  # the chapter that began is not known to have ended


def test_of_two_items_at_work_each_has_its_bar_and_of_two_with_one_label_neither(clock):
    progress = two_chapters(clock)
    stage(progress, "a", "begun")
    stage(progress, "b", "begun")
    progress.on_bar(Bar("fine-tuning b", 5, 10))
    assert progress.left == pytest.approx(2_500 / EXPECTED + 60)
    twins = [item("0/a", tokens=100, label="x"), item("1/a", tokens=100, label="x")]
    progress = Progress([Chapter("one", "One", None, twins, 0)], EXPECTED, clock)
    stage(progress, "0/a", "begun")
    stage(progress, "1/a", "begun")
    progress.on_bar(Bar("x", 5, 10))
    assert progress.bar == Bar("x", 5, 10)
    assert progress.share == 0


def test_the_first_error_is_kept(clock):
    progress = two_chapters(clock)
    chapter(progress, "one", "failed", error="x: 1; give 2")
    chapter(progress, "two", "failed", error="another")
    assert progress.error == "x: 1; give 2"


def test_times_are_rounded_as_they_are_said():
    texts = [duration(seconds) for seconds in (0, 89, 90, 600, 5_400, 200_000)]
    assert texts == ["0 s", "89 s", "2 min", "10 min", "1.5 h", "2.3 days"]
    assert all(re.fullmatch(r"[\d.]+ \w+", each) for each in texts)
