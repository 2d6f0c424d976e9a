import shutil

import nbformat
import pytest

from study.commands import pdf


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
    (tmp_path / pdf.EXECUTED).mkdir(parents=True)
    (tmp_path / pdf.EXECUTED / "introduction.ipynb").write_text("")
    monkeypatch.setattr(pdf.shutil, "which", lambda _: None)
    with pytest.raises(ValueError, match="install one"):
        pdf.pdf(tmp_path)


def test_the_first_page_has_the_title_and_the_profile(tmp_path):
    (tmp_path / "_config.yml").write_text("title: A <Book>\n")
    (tmp_path / pdf.EXECUTED).mkdir(parents=True)
    for parameters, line in (('profile = "p & q"\nseed = 0', "<p>of the profile p &amp; q</p>"), ("", "")):
        cell = nbformat.v4.new_code_cell(parameters, metadata={"tags": ["injected-parameters"]})
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / pdf.EXECUTED / "introduction.ipynb")
        cover = pdf._cover(tmp_path)
        assert "A &lt;Book&gt;" in cover and line in cover and "<p></p>" not in cover
        assert ("of the profile" in cover) == bool(parameters)
