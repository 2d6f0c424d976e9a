import shutil

import pytest

from ifcore.study import pdf


def test_the_built_book_is_printed(checkout, built, make):
    if not any(map(shutil.which, pdf.BROWSERS)):
        pytest.skip("no Chromium or Chrome")
    done = make("pdf")
    assert done.stdout.endswith(f"The book as a PDF, yours: {checkout / pdf.PDF}\n"), done.stdout
    printed = (checkout / pdf.PDF).read_bytes()
    assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") > 20


def test_without_a_book_or_a_browser_the_remedy_is_named(tmp_path, monkeypatch):
    (tmp_path / "_toc.yml").write_text("root: book/executed/introduction\n")
    with pytest.raises(ValueError, match="make book, or make read, first"):
        pdf.pdf(tmp_path)
    (tmp_path / pdf.CHAPTERS).mkdir(parents=True)
    (tmp_path / pdf.CHAPTERS / "introduction.ipynb").write_text("")
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="install one"):
        pdf.pdf(tmp_path)
