import pytest

from ifcore import sanitize


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – Ünïcode, 日本", "plain – Ünïcode, 日本"),
        ("two\nlines\r\n and\ta tab", "two lines and a tab"),
        ("\x1b[2J\u202eabc\x00\x9b", "?[2J?abc??"),
        (ValueError("x: 1"), "x: 1"),
    ],
)
def test_a_line_moves_no_terminal(text, shown):
    assert sanitize.printable(text) == shown


def test_a_very_long_line_is_cut():
    line = sanitize.printable("a" * 10**6)
    assert len(line) == sanitize.LONGEST and line.endswith("a …")


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", "\r=1", "+", "-1\n"])
def test_what_a_spreadsheet_would_compute_is_text(text):
    assert sanitize.cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["a = 1", "", "-1", "+4.5", "-1e-3", "- a"[2:], -1, 2.5, None, "'=1"])
def test_other_cells_stay(value):
    assert sanitize.cell(value) is value


def test_a_page_gets_no_control_character():
    assert sanitize.legible("a\x00b\x1b[2J\x85\tc\nd – \u202eé") == "a\ufffdb\ufffd[2J\ufffd\tc\nd – \u202eé"
