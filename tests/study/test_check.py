import pytest

from ifcore.study.check import check_book
from tests.study.runs.test_artifact import make_run


def test_a_book_needs_sizes_for_every_data_set(tmp_path):
    with pytest.raises(ValueError, match="datasets: no sizes for mixed_large, .*; the book's chapters"):
        check_book(make_run(tmp_path, layers_on="mixed_small"))
