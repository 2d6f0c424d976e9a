"""In which precision a run computes."""

import pytest

from study.pipeline import base_model


@pytest.mark.parametrize("native", ["float32", "bfloat16"])
def test_a_precision_that_was_asked_for_takes_the_place_of_auto_alone(monkeypatch, native):
    monkeypatch.setattr(base_model, "native_precision", lambda: native)
    monkeypatch.delenv("STUDY_PRECISION", raising=False)
    assert base_model.resolved_precision("auto") == native
    assert base_model.resolved_precision("float32") == "float32"
    monkeypatch.setenv("STUDY_PRECISION", "float32")
    assert base_model.resolved_precision("auto") == base_model.resolved_precision("float32") == "float32"
    with pytest.raises(ValueError, match="PRECISION=float32: the profile says bfloat16; change it there"):
        base_model.resolved_precision("bfloat16")
    monkeypatch.setenv("STUDY_PRECISION", "fp16")
    with pytest.raises(ValueError, match="PRECISION=fp16: choose from float32, bfloat16"):
        base_model.resolved_precision("auto")
