"""What a failing program printed becomes one line."""

import sys

import pytest

from study.commands import error_lines


@pytest.mark.parametrize(
    ("log", "words"),
    [
        (
            "Building\n\x1b[91m/book/a.md:3: WARNING: unknown document: 'b'\x1b[0m\nCalledProcessError: no",
            "WARNING: unknown document: 'b'",
        ),
        ("[IPKernelApp] WARNING | Kernel\na:  50%| | 1/2 [0\rTypeError: bad\n", "TypeError: bad"),
        (
            "Write-protected output files for rule edition:\n    output: a, b\n    affected files:\n        b\n",
            "b: the file or its folder is read-only; make it writable",
        ),
        ("WorkflowError:\nAt least one job failed.\nElapsed", "WorkflowError: At least one job failed."),
        ("killed\n\n", "killed"),
        ("", "without a message"),
    ],
)
def test_where_no_notebook_says_what_went_wrong_the_log_does(log, words):
    assert error_lines.error_line(log).endswith(words)


def test_a_program_that_fails_or_takes_too_long_is_said_to_in_one_line():
    error_lines.call([sys.executable, "-c", ""], "it fails")
    with pytest.raises(RuntimeError, match="^it fails: KeyError: 1$"):
        error_lines.call([sys.executable, "-c", "{}[1]"], "it fails")
    with pytest.raises(RuntimeError, match="^it fails: not done after 0.1 s$"):
        error_lines.call([sys.executable, "-c", "import time; time.sleep(9)"], "it fails", timeout=0.1)
