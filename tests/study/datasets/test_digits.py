import gzip
import struct

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from study.datasets import digits


def write(path, array):
    content = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.fixture
def mnist(tmp_path):
    """A small folder in MNIST's format: 6 training digits, gzipped, and 4 test digits, not gzipped."""
    rng = np.random.default_rng(0)
    for stem, n, suffix in (("train", 6, ".gz"), ("t10k", 4, "")):
        write(tmp_path / f"{stem}-images-idx3-ubyte{suffix}", rng.integers(0, 256, (n, 28, 28), np.uint8))
        write(tmp_path / f"{stem}-labels-idx1-ubyte{suffix}", rng.integers(0, 10, n, np.uint8))
    return tmp_path


def test_a_draw_is_of_different_digits_and_the_same_for_a_seed():
    train, test = digits.draw(None, 30, 20, None, seed=3)
    assert train.inputs.shape == (30, 64) and test.inputs.shape == (20, 64)
    assert torch.equal(digits.draw(None, 30, 20, None, seed=3)[0].inputs, train.inputs)
    assert not torch.equal(digits.draw(None, 30, 20, None, seed=4)[0].inputs, train.inputs)
    bunch = load_digits()
    every, _ = digits.draw(None, len(bunch.target), 0, None, seed=0)
    assert sorted(every.labels.tolist()) == sorted(bunch.target)
    assert every.inputs.min() == 0 and every.inputs.max() == 1


def test_resizing_keeps_the_mean_brightness_and_gives_the_shape_asked_for():
    plain, _ = digits.draw(None, 5, 0, None, seed=0)
    resized, _ = digits.draw(None, 5, 0, (25, 40), seed=0)
    assert resized.inputs.shape == (5, 1_000)
    torch.testing.assert_close(resized.inputs.mean(1), plain.inputs.mean(1), rtol=0.1, atol=0)


@pytest.mark.parametrize("parameters", [10, 1_000, 10_000, 100_000, 1_000_000, 70])
def test_a_shape_has_exactly_the_parameters(parameters):
    height, width = digits.shape(parameters)
    assert 10 * height * width == parameters


def test_parameters_that_ten_classes_cannot_share_are_refused():
    with pytest.raises(ValueError, match="parameters: 1005; must be a multiple of 10"):
        digits.shape(1_005)


def test_idx_files_are_read_both_parts_gzipped_or_not(mnist):
    every, _ = digits.draw(str(mnist), 10, 0, None, seed=0)
    assert every.inputs.shape == (10, 784)
    content = gzip.decompress((mnist / "train-images-idx3-ubyte.gz").read_bytes())
    first = np.frombuffer(content, np.uint8, offset=16)[:784] / 255
    assert any(np.array_equal(row, first) for row in every.inputs.numpy())


def test_a_source_that_cannot_be_read_is_named(mnist, tmp_path):
    with pytest.raises(ValueError, match="no IDX files of MNIST"):
        digits.draw(str(tmp_path / "nowhere"), 1, 1, None, seed=0)
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08")
    with pytest.raises(ValueError, match="t10k-labels-idx1-ubyte: can't be read"):
        digits.draw(str(mnist), 1, 1, None, seed=0)


def test_too_many_are_refused():
    with pytest.raises(ValueError, match="1797 digits, 1797 \\+ 1 asked"):
        digits.draw(None, 1_797, 1, None, seed=0)


def test_a_download_is_checked_by_its_hash(tmp_path, monkeypatch):
    fake = tmp_path / "x.gz"
    fake.write_bytes(b"not MNIST")
    monkeypatch.setattr(digits.sources, "fetch", lambda source: fake)
    with pytest.raises(ValueError, match="MD5 .* MNIST's is f68b3c2dcbeaaa9fbdd348bbdeb94873"):
        digits.draw("hub:owner/name", 1, 1, None, seed=0)
