import io
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tqdm import tqdm

from study.commands import progress
from study.commands.progress import PRIOR, Bar, Bars, Chapter, Item, Progress

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
    bars, found = Bars(), []
    for start, end in itertools.pairwise(edges):
        found += bars.feed(STREAM[start:end])
    expected = [Bar("fine-tuning mathqa", n, 12) for n in range(13)]
    expected += [Bar("harmful responses by hub:a/b", n, 3) for n in range(4)]
    assert [bar for bar, _ in itertools.groupby(found)] == expected


@pytest.fixture
def clock():
    """A clock that is set by hand: clock.now."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def item(folder, stage="fine-tune", **about):
    return Item(Path(folder), stage, **{"label": f"fine-tuning {folder}"} | about)


def stage(progress, folder, state, stage="fine-tune"):
    progress.hear({"kind": "stage", "folder": folder, "stage": stage, "state": state})


def chapter(progress, output, state, **about):
    return progress.hear({"kind": "chapter", "output": output, "state": state, **about})


def two_chapters(clock):
    first = Chapter("one", "One", None, [item("a", tokens=1_000), item("b", tokens=3_000)], 10)
    second = Chapter("two", "Two", None, [item("a", tokens=1_000), item("c", seconds=40)], 10)
    return Progress([first, second], EXPECTED, clock)


def test_before_anything_is_measured_the_estimate_is_the_expected_speeds(clock):
    told = two_chapters(clock)
    assert told.left == pytest.approx(4_000 / EXPECTED + 40 + 20)
    assert told.share == 0
    assert told.where == ""


def test_speed_is_that_of_what_was_made_beside_a_prior_and_waiting_is_no_work(clock):
    told = two_chapters(clock)
    chapter(told, "one", "begun")
    clock.now = 50  # the kernel starts
    stage(told, "a", "begun")
    clock.now = 55
    stage(told, "a", "made")
    speed = (1_000 + PRIOR * EXPECTED) / (5 + PRIOR)
    assert told.speed == pytest.approx(speed)
    assert told.left == pytest.approx(3_000 / speed + 40 + 10)
    assert told.share == pytest.approx((1_000 / speed + 10) / (4_000 / speed + 60))
    clock.now = 99
    assert told.speed == pytest.approx(speed)
    assert told.elapsed == 99


def test_a_chapters_own_time_goes_by_while_no_item_is_at_work(clock):
    told = two_chapters(clock)
    chapter(told, "one", "begun")
    gone = []
    for clock.now in (4, 9, 30):
        told.tick()
        gone.append(4_000 / EXPECTED + 60 - told.left)
    assert gone == pytest.approx([4, 9, 10])


def test_the_running_item_counts_with_the_share_of_its_bar(clock):
    told = two_chapters(clock)
    stage(told, "b", "begun")
    clock.now = 10
    told.see(Bar("fine-tuning b", 0, 30))
    told.see(Bar("fine-tuning b", 20, 30))
    speed = (2_000 + PRIOR * EXPECTED) / (10 + PRIOR)
    assert told.speed == pytest.approx(speed)
    assert told.left == pytest.approx(2_000 / speed + 40 + 20)


def test_what_a_killed_run_left_is_done_but_says_nothing_of_speed(clock):
    told = two_chapters(clock)
    stage(told, "b", "begun")
    told.see(Bar("fine-tuning b", 15, 30))
    assert told.speed == EXPECTED
    assert told.left == pytest.approx(2_500 / EXPECTED + 60)
    clock.now = 10
    stage(told, "b", "made")
    assert told.speed == pytest.approx((1_500 + PRIOR * EXPECTED) / (10 + PRIOR))


def test_a_bar_is_that_of_the_item_at_work_whose_label_it_has(clock):
    told = two_chapters(clock)
    stage(told, "a", "begun")
    told.see(Bar("fine-tuning a", 9, 10))
    assert told.bar == Bar("fine-tuning a", 9, 10)
    stage(told, "a", "made")
    stage(told, "b", "begun")
    for late in (Bar("fine-tuning a", 10, 10), Bar("fine-tuning b-benign", 3, 4)):
        told.see(late)
        assert told.bar is None
        assert told.step == "fine-tune b"
        assert told.left == pytest.approx(3_000 / told.speed + 60)
    told.see(Bar("fine-tuning b", 1, 4))
    assert told.left == pytest.approx(2_250 / told.speed + 60)


def test_between_items_a_bar_shows_until_it_is_full(clock):
    told = two_chapters(clock)
    told.see(Bar("harmful responses by hub:a/b", 3, 4))
    assert told.bar == Bar("harmful responses by hub:a/b", 3, 4)
    told.see(Bar("harmful responses by hub:a/b", 4, 4))
    assert told.bar is None


def test_an_item_of_two_bars_is_half_done_with_the_first(clock):
    answers = item("a", "answers", tokens=800, label="answers a", bars=2)
    told = Progress([Chapter("one", "One", None, [answers], 0)], EXPECTED, clock)
    stage(told, "a", "begun", "answers")
    shares = []
    for label, n in (("before", 0), ("before", 4), ("after", 0), ("after", 2), ("after", 4)):
        told.see(Bar(f"answers a {label}", n, 4))
        shares.append(told.share)
    assert shares == pytest.approx([0, 0.5, 0.5, 0.75, 1])


def test_what_is_found_leaves_the_count_and_what_is_unknown_is_ignored(clock):
    told = two_chapters(clock)
    stage(told, "b", "found")
    stage(told, "a", "found", "no such stage")
    chapter(told, "three", "begun")
    assert told.left == pytest.approx(1_000 / EXPECTED + 60)
    assert told.share == 0
    assert told.speed == EXPECTED
    assert told.where == ""


def test_what_never_came_to_be_is_done_with_its_chapter(clock):
    told = two_chapters(clock)
    assert chapter(told, "one", "begun") == "chapter 1 of 2, One"
    clock.now = 120
    assert chapter(told, "one", "made") == "chapter 1 of 2, One: made; 50% of the whole, 2 min, about 50 s left"
    assert told.left == 50
    assert told.speed == EXPECTED


def test_a_chapter_that_begins_shows_that_those_before_are_there(clock):
    told = two_chapters(clock)
    chapter(told, "two", "begun")
    assert told.where == "chapter 2 of 2, Two"
    assert told.left == 50
    assert not told.is_over
    chapter(told, "two", "made")
    assert (told.left, told.share, told.is_over) == (0, 1, True)


def test_seeds_at_a_time_do_not_pass_each_other(clock):
    names = ("0", "1", None)
    told = Progress([Chapter(f"{name}{k}", "T", name, [], 10) for name in names for k in (1, 2)], EXPECTED, clock)
    chapter(told, "12", "begun")  # the second chapter of seed 1
    assert told.left == 50
    chapter(told, "None1", "begun")  # the book comes after all seeds
    assert told.left == 30  # the chapter that began is not known to have ended


def test_of_two_items_at_work_each_has_its_bar_and_of_two_with_one_label_neither(clock):
    told = two_chapters(clock)
    stage(told, "a", "begun")
    stage(told, "b", "begun")
    told.see(Bar("fine-tuning b", 5, 10))
    assert told.left == pytest.approx(2_500 / EXPECTED + 60)
    twins = [item("0/a", tokens=100, label="x"), item("1/a", tokens=100, label="x")]
    told = Progress([Chapter("one", "One", None, twins, 0)], EXPECTED, clock)
    stage(told, "0/a", "begun")
    stage(told, "1/a", "begun")
    told.see(Bar("x", 5, 10))
    assert told.bar == Bar("x", 5, 10)
    assert told.share == 0


def test_the_first_error_is_kept(clock):
    told = two_chapters(clock)
    chapter(told, "one", "failed", error="x: 1; give 2")
    chapter(told, "two", "failed", error="another")
    assert told.error == "x: 1; give 2"


def test_times_are_rounded_as_they_are_said():
    said = [progress.duration(seconds) for seconds in (0, 89, 90, 600, 5_400, 200_000)]
    assert said == ["0 s", "89 s", "2 min", "10 min", "1.5 h", "2.3 days"]
    assert all(re.fullmatch(r"[\d.]+ \w+", each) for each in said)
