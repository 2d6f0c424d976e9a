import hashlib
import zipfile

import nbformat
import pytest

from ifcore import io
from study.commands import archive


@pytest.fixture
def root(tmp_path):
    io.write_text(tmp_path / "notebooks/profiles/p.yaml", "profile: p\nmodel: random:tiny-llama\ndatasets: {}\n")
    for name in ("requirements.txt", "CITATION.cff", "LICENSE", "README.md"):
        io.write_text(tmp_path / name, name)
    return tmp_path


def test_an_archive_has_tables_notebooks_and_adapters_and_sums_that_are_right(root):
    with pytest.raises(ValueError, match="make book PROFILE=p first"):
        archive.archive(root, "p")
    packed = ["results/p/seed-0/a.csv", "results/p/seed-0/a.svg", "book/executed/a.ipynb"]
    packed += ["artifacts/p/seed-0/mixed/epoch-01/adapter_model.safetensors"]
    left = ["results/p/build.log", "artifacts/p/seed-0/mixed/gradients/000000.safetensors", "results/q/seed-0/a.csv"]
    left += ["book/executed/b.ipynb"]
    for name in packed + left:
        io.write_text(root / name, name)
    for name, profile in (("a", "p"), ("b", "q")):  # the book that was built last may be of both
        cell = nbformat.v4.new_code_cell(f"profile = {profile!r}", metadata={"tags": ["injected-parameters"]})
        text = nbformat.writes(nbformat.v4.new_notebook(cells=[cell]))
        io.write_text(root / "book" / "executed" / f"{name}.ipynb", text)
    made = archive.archive(root, "p")
    with zipfile.ZipFile(made) as zipped:
        names = zipped.namelist()
        assert set(packed) < set(names) and not set(left) & set(names)
        assert {"archived-with.json", "SHA256SUMS", "notebooks/profiles/p.yaml"} < set(names)
        sums = dict(line.split("  ")[::-1] for line in zipped.read("SHA256SUMS").decode().splitlines())
        assert sums.keys() == set(names) - {"SHA256SUMS"}
        assert all(hashlib.sha256(zipped.read(name)).hexdigest() == digest for name, digest in sums.items())
    before = made.read_bytes()
    assert archive.archive(root, "p").read_bytes() == before, "the same content is the same file"
