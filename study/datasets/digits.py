"""Handwritten digits for the linear models of section 4: scikit-learn's, or MNIST from its published IDX files.

A source is None (scikit-learn's 1,797 digits of 8 × 8 pixels, part of the package), a folder that holds MNIST's IDX
files, gzipped or not, or `hub:owner/name` (`hub:owner/name/folder`) for a data set on the Hugging Face hub that does.
"""

import functools
import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from ifcore.linear import Points
from study.datasets import sources

CLASSES = 10


def name(source: str | None) -> str:
    """The source's name in tables: digits or mnist."""
    return "digits" if source is None else "mnist"


def draw(source: str | None, train: int, test: int, shape: tuple[int, int] | None, seed: int) -> tuple[Points, Points]:
    """`train` and `test` different random digits, flattened, as float64 pixels from 0 to 1.

    They are resized to `shape`, unless it is None, by bilinear interpolation (averaging where it shrinks). ValueError
    for a source that can't be read or has too few digits.
    """
    images, labels = _digits(source)
    if train + test > len(labels):
        sizes = f"{len(labels)} digits, {train} + {test} asked"
        raise ValueError(f"{source or 'digits'}: {sizes}; lower points or left_out")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels))[: train + test])
    images, labels = images[order], labels[order]
    if shape is not None and shape != tuple(images.shape[1:]):
        resized = torch.nn.functional.interpolate(images[:, None], shape, mode="bilinear", antialias=True)
        images = resized[:, 0]
    points = Points(images.flatten(1), labels)
    return Points(*(part[:train] for part in points)), Points(*(part[train:] for part in points))


def digest(source: str | None) -> str:
    """Hash of the images and labels of a source, independent of file names."""
    return hashlib.sha256(b"".join(part.numpy().tobytes() for part in _digits(source))).hexdigest()


def shape(parameters: int) -> tuple[int, int]:
    """The height and width, as square as possible, of images whose linear model of 10 classes has `parameters` weights.

    ValueError for a number that is not a multiple of 10.
    """
    pixels, rest = divmod(parameters, CLASSES)
    if rest or pixels < 1:
        raise ValueError(f"parameters: {parameters}; must be a multiple of {CLASSES}, one weight a class and pixel")
    height = max(h for h in range(1, int(pixels**0.5) + 1) if pixels % h == 0)
    return height, pixels // height


# MNIST's training and test files: images and labels, with the published MD5 of the gzipped file.
_PARTS = (
    (
        ("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
        ("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432"),
    ),
    (
        ("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3"),
        ("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c"),
    ),
)


@functools.cache
def _digits(source: str | None) -> tuple[Tensor, Tensor]:
    """Images [n, height, width] from 0 to 1 and labels [n]; for MNIST, of every part that the source has."""
    if source is None:
        bunch = load_digits()
        return torch.from_numpy(bunch.images / 16), torch.from_numpy(bunch.target).long()
    files = [(_find(source, *images), _find(source, *labels)) for images, labels in _PARTS]
    parts = [(images, labels) for images, labels in files if images and labels]
    if not parts:
        example = _PARTS[1][0][0]
        raise ValueError(f"digits_source: {source!r}: no IDX files of MNIST; it should hold {example}.gz and the like")
    images, labels = (np.concatenate([_read_idx(part[i]) for part in parts]) for i in (0, 1))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or labels.max() >= CLASSES:
        raise ValueError(f"digits_source: {source!r}: images {images.shape} and labels {labels.shape} don't fit")
    return torch.from_numpy(images / 255), torch.from_numpy(labels).long()


def _find(source: str, stem: str, md5: str) -> Path | None:
    """The file of that stem, gzipped or not; None if the folder has neither. Downloads are checked by hash."""
    if source.startswith("hub:"):
        path = sources.fetch(f"{source}/{stem}.gz")
        if (actual := hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()) != md5:
            raise ValueError(f"{source}/{stem}.gz: MD5 {actual}, MNIST's is {md5}; choose another source")
        return path
    folder = Path(source)
    return next((path for path in (folder / f"{stem}.gz", folder / stem) if path.is_file()), None)


def _read_idx(path: Path) -> np.ndarray:
    """An IDX file of unsigned bytes: two zeros, a type (8), the number of dimensions, their sizes, the bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, dimensions = struct.unpack(">HBB", content[:4])
        sizes = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions])
        if (zeros, kind) != (0, 8):
            raise ValueError("it is not an IDX file of bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(sizes)
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise ValueError(f"{path.name}: can't be read ({error}); get the file again") from None
