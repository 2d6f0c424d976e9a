"""What an attribution will take, said before its first batch."""

import re
import shutil
from types import SimpleNamespace

import pytest

from ifcore import gradient_store
from ifcore.batches import example_batches
from ifcore.forecast import check_disk, duration, forecast, size


@pytest.fixture
def parts(tiny, examples):
    return {part: example_batches(*tiny, rows, 2) for part, rows in (("train", examples), ("val", examples[:2]))}


def row_bytes(model):
    """Of one row's gradients in float32."""
    return 4 * sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def set_free(monkeypatch, count):
    """The bytes that are free on any disk."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=count))


@pytest.mark.parametrize(
    ("count", "text"),
    [(12, "12 bytes"), (2048, "2 KiB"), (1.5 * 2**20, "1.5 MiB"), (2**31, "2 GiB"), (3 * 2**40, "3 TiB")],
)
def test_sizes_are_said_in_the_unit_that_fits(count, text):
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.25, "0.25 seconds"), (89, "89 seconds"), (120, "2 minutes"), (7200, "2 hours")]
)
def test_durations_are_said_in_the_unit_that_fits(seconds, text):
    assert duration(seconds) == text


def test_a_disk_that_cannot_hold_the_gradients_is_refused(tiny, parts, tmp_path, monkeypatch):
    needed = 7 * row_bytes(tiny[0])
    set_free(monkeypatch, needed)
    check_disk(tiny[0], parts, tmp_path / "not" / "there yet")
    set_free(monkeypatch, needed - 1)
    with pytest.raises(ValueError, match=r"^store: the gradients of 7 rows take .* choose another disk, or fewer rows"):
        check_disk(tiny[0], parts, tmp_path)


def test_what_the_folder_holds_already_needs_no_more_disk(tiny, parts, tmp_path, monkeypatch):
    gradient_store.write(tmp_path / "train", tiny[0], parts["train"])
    set_free(monkeypatch, 7 * row_bytes(tiny[0]) * 1 / 4)  # val's batch of four is left
    check_disk(tiny[0], parts, tmp_path)


def test_the_forecast_says_what_a_row_the_disk_and_the_memory_take(tiny, parts, tmp_path):
    row = row_bytes(tiny[0])
    in_memory = forecast(tiny[0], parts, None, 2**31)
    assert in_memory.startswith(f"gradients: {size(row)} a row, {size((2 * 2 + 7) * row)} of memory, about ")
    assert re.search(r"about [\d.e-]+ (seconds|minutes|hours)$", in_memory)
    on_disk = forecast(tiny[0], parts, tmp_path, row)
    assert on_disk.startswith(
        f"gradients: {size(row)} a row, {size(7 * row)} on disk, {size(5 * row)} of memory, about "
    )
