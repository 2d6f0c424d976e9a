from types import SimpleNamespace

from study.site import sharing


def test_a_published_books_pages_open_their_notebook_and_not_the_executed_one(monkeypatch):
    monkeypatch.setenv("SITE_URL", "https://example.org/book")
    monkeypatch.setenv("SITE_REPOSITORY", "https://github.com/a/b")
    config = SimpleNamespace(html_theme_options={})
    sharing.configure(None, config)
    assert config.ogp_site_url == "https://example.org/book/"
    assert config.html_theme_options["repository_url"] == "https://github.com/a/b"
    url = f"{sharing.BINDER}/v2/gh/a/b/main?urlpath=lab/tree/book/executed/facts.ipynb"
    button, other = {"url": url}, {"url": "https://github.com/a/b"}
    sharing.set_notebook(None, "book/executed/facts", "", {"header_buttons": [{"buttons": [button]}, other]}, None)
    assert button["url"].endswith("lab/tree/notebooks/facts.md?factory=Jupytext%20Notebook")
    assert other == {"url": "https://github.com/a/b"}


def test_a_book_on_disk_has_no_button(monkeypatch):
    monkeypatch.delenv("SITE_URL", raising=False)
    monkeypatch.delenv("SITE_REPOSITORY", raising=False)
    config = SimpleNamespace(html_theme_options={})
    sharing.configure(None, config)
    assert config.html_theme_options == {}
