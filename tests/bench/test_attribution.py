import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from ifcore import io
from study.chapters.speed import show
from tests.bench import attribution, job, scaling

ROOT = Path(__file__).parents[2]


def test_the_chapter_names_every_contender_job_and_what_grows():
    assert show.CONTENDERS.keys() == attribution.CONTENDERS.keys()
    assert show.JOBS.keys() == job.JOBS.keys()
    assert scaling.GROWING.keys() < show.EXPECTED.keys()


def test_scores_that_are_not_the_references_are_refused_and_so_are_none(tmp_path):
    scores = torch.arange(6.0).reshape(2, 3)
    for name, value in (("ifcore", scores), ("bergson", scores * 1.0001), ("kronfluence", scores * 1.01)):
        save_file({"gradsim": value}, tmp_path / f"{name}.safetensors")
    assert attribution._off("floor", tmp_path) is None
    assert attribution._off("bergson", tmp_path) == pytest.approx(1e-4, rel=0.01)
    with pytest.raises(ValueError, match="kronfluence: its gradsim is off by 0.01 "):
        attribution._off("kronfluence", tmp_path)
    save_file({"gradsim": scores * float("nan")}, tmp_path / "dattri.safetensors")
    with pytest.raises(ValueError, match="dattri: its gradsim is off by nan"):
        attribution._off("dattri", tmp_path)


def test_a_job_gets_the_contenders_named_and_their_references():
    assert attribution._selected("tuned", ["bergson-magic", "dattri"], True) == ["ifcore-unrolled", "bergson-magic"]
    assert attribution._selected("tuned", ["bergson-magic"], False) == []
    assert attribution._selected("small", ["fine-tune"], True) == []


def test_only_what_is_measured_again_is_replaced(tmp_path):
    rows = [("small", "floor"), ("small", "loops"), ("large", "floor")]
    io.write_csv(tmp_path / "a.csv", pd.DataFrame(rows, columns=["job", "contender"]))
    others = attribution._others(tmp_path / "a.csv", "small", ["floor"])
    assert list(others.itertuples(index=False, name=None)) == rows[1:]


def test_all_environments_have_the_same_torch_and_transformers():
    main, *others = [dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE)) for name in PINS]
    for name in ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy"):
        assert {other[name] for other in others} == {main[name]}


PINS = ("requirements.txt", "requirements-bench.txt", "requirements-clients.txt")
