import pytest

from ifcore.study import execute
from tests.study.test_artifact import make_run


def test_a_book_needs_sizes_for_every_data_set(tmp_path):
    with pytest.raises(ValueError, match="datasets: no sizes for mixed_large, .*; the book's chapters"):
        execute._check(make_run(tmp_path, layers_on="mixed_small"))
