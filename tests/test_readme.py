"""The README's example is run as it stands."""

import re
from pathlib import Path

from ifcore import __main__, loading, lora

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_example_for_ones_own_fine_tune_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    model, tokenizer = loading.load("random:tiny-llama")
    model.save_pretrained(tmp_path / "my-base-model")
    tokenizer.save_pretrained(tmp_path / "my-base-model")
    lora.add_lora(model).save_pretrained(tmp_path / "my-adapter")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(code, "README.md", "exec"), names)
    assert all(frame.shape == (1, 2) for frame in names["scores"].values())
    assert str(names["scores"]["exact"]) in capsys.readouterr().out


def test_the_command_for_ones_own_fine_tune_is_one_that_there_is(monkeypatch):
    (command,) = re.findall(r"\npython -m ifcore (.*)\n", README)
    monkeypatch.setattr("sys.argv", ["ifcore", *command.split()])
    given = __main__._arguments()
    assert (given.model, str(given.adapter), str(given.out)) == ("path:my-base-model", "my-adapter", "scores")
