import errno

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from ifcore import io


def test_a_full_disk_leaves_the_old_file_and_one_line(tmp_path):
    path = tmp_path / "table.csv"
    io.write_text(path, "old")

    def full(target):
        target.write_text("half of the n")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="disk full while writing .*table.csv; free some space and start again") as error:
        io.write(path, full)
    assert "\n" not in str(error.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_other_errors_pass_unchanged_and_leave_nothing(tmp_path):
    with pytest.raises(PermissionError):
        io.write(tmp_path / "a", lambda target: (_ for _ in ()).throw(PermissionError("no")))
    assert list(tmp_path.iterdir()) == []


def test_tensors_come_back(tmp_path):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T}
    io.write_tensors(tmp_path / "deep" / "a.safetensors", tensors)
    assert torch.equal(load_file(tmp_path / "deep" / "a.safetensors")["a"], tensors["a"])


def test_json_that_is_not_there_or_broken_reads_as_empty(tmp_path):
    assert io.read_json(tmp_path / "none.json") == {}
    (tmp_path / "half.json").write_text('{"a": ')
    assert io.read_json(tmp_path / "half.json") == {}


def test_a_table_comes_back_and_none_of_its_text_is_a_formula(tmp_path):
    frame = pd.DataFrame({"name": ["a", "=1+1", None], "value": [-1.5, 0.1, None], "n": [1, -2, 3], "all": [None] * 3})
    io.write_csv(tmp_path / "a.csv", frame)
    assert (tmp_path / "a.csv").read_text() == "name,value,n,all\na,-1.5,1,\n'=1+1,0.1,-2,\n,,3,\n"
    io.write_csv(tmp_path / "none.csv", frame[:0])
    assert (tmp_path / "none.csv").read_text() == "name,value,n,all\n"


def test_what_was_sealed_comes_back_and_what_was_changed_reads_as_empty(tmp_path):
    path, value = tmp_path / "a.json", {"a": (1, 2.5, "ü"), "b": {"10": None, "9": True}}
    io.write_sealed(path, value)
    assert io.read_sealed(path) == {"a": [1, 2.5, "ü"], "b": {"10": None, "9": True}}
    path.write_text(path.read_text().replace("2.5", "2.6"))
    assert io.read_sealed(path) == {}
    io.write_json(path, value)  # as earlier versions did
    assert io.read_sealed(path)["a"] == [1, 2.5, "ü"]
    assert io.read_sealed(tmp_path / "none.json") == {}


def test_a_class_that_is_called_na_is_no_missing_value(tmp_path):
    frame = pd.DataFrame({"class": ["NA", "NaN", "None", "null", ""], "value": [0.5, float("nan"), 1.0, 2.0, 3.0]})
    io.write_csv(tmp_path / "table.csv", frame)
    restored = io.read_csv(tmp_path / "table.csv")
    assert restored["class"].tolist()[:4] == ["NA", "NaN", "None", "null"] and pd.isna(restored["class"][4])
    pd.testing.assert_series_equal(restored.value, frame.value)
