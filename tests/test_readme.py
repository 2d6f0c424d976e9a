"""The README's example is run as it stands."""

import re
from pathlib import Path

from ifcore import models, weights

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_for_ones_own_fine_tune_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    model, tokenizer = weights.load("random:tiny-llama")
    model.save_pretrained(tmp_path / "my-base-model")
    tokenizer.save_pretrained(tmp_path / "my-base-model")
    models.add_lora(model).save_pretrained(tmp_path / "my-adapter")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["scores"].shape == (1, 2)
    assert "value=" in capsys.readouterr().out
