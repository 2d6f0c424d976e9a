"""The published book is built beside one's own, once, and ends with it."""

import os
import time

import pytest

from study.commands.meanwhile import published_book

LINE = "To read meanwhile, the published book: "


@pytest.fixture
def edition(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results" / "published" / "laptop" / "book"
    folder.mkdir(parents=True)
    (folder / "introduction.ipynb").touch()
    return tmp_path / "_build" / "published" / "html" / "index.html"


def builds(page, seconds=0):
    steps = (
        f"echo $$ > pid; sleep {seconds}; mkdir -p {page.parent}; touch {page}; printf $0 > {page.parents[1]}/profile"
    )
    return "sh", "-c", steps


def wait_for(condition):
    end = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_it_is_told_once_where_the_book_is(edition):
    with published_book("laptop", builds(edition)) as news:
        assert wait_for(news) == f"{LINE}{edition}" and news() == ""
    with published_book("laptop", ("false",)) as news:  # it is there
        assert news() == f"{LINE}{edition}" and news() == ""


def test_a_newer_edition_is_built_anew(edition):
    edition.parent.mkdir(parents=True)
    edition.touch()
    os.utime(edition, (0, 0))
    with published_book("laptop", builds(edition)) as news:
        wait_for(news)
    assert edition.stat().st_mtime > 0


def test_the_book_of_another_profile_is_not_taken_for_its_own(edition):
    edition.parent.mkdir(parents=True)
    edition.touch()
    (edition.parents[1] / "profile").write_text("evening")
    with published_book("laptop", builds(edition)) as news:
        wait_for(news)
    assert (edition.parents[1] / "profile").read_text() == "laptop"


def test_without_an_edition_or_where_it_does_not_build_nothing_is_said(edition):
    for profile, command in (("smoke", builds(edition)), ("", builds(edition)), ("laptop", ("false",))):
        with published_book(profile, command) as news:
            time.sleep(0.3)
            assert news() == ""
    assert not edition.exists()


def test_it_ends_with_what_it_is_built_beside(edition, tmp_path):
    with published_book("laptop", builds(edition, 60)):
        pid = int(wait_for(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
