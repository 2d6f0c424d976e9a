"""The book in a folder with an awkward name, for a user without a writable home."""

import os

from tests.book.conftest import check_out, run_make


def test_a_folder_with_spaces_and_letters_of_other_alphabets_and_a_home_that_cannot_be_written(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith(("XDG_", "HF_", "JUPYTER", "IPYTHON", "MPLCONFIG"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/proc/nobody")  # not even root can make a folder there
    folder = tmp_path / "mein Büchlein, 書 (2) 'ß'"
    check_out(folder)
    done = run_make(folder, "book", "PROFILE=smoke")
    assert done.returncode == 0, done.stdout[-3000:]
    assert (folder / "_build" / "html" / "index.html").is_file()
    done = run_make(folder, "archive", "PROFILE=smoke")
    assert done.returncode == 0, done.stdout[-3000:]
