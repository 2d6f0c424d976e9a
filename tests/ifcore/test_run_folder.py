"""What the command leaves in its folder. That a folder holds one run, the table of command cases shows."""

import pandas as pd
import pytest

from ifcore import run_folder
from ifcore.rows import by_id
from tests.example_cases import messages
from tests.tokenizers_and_templates import build_tokenizer

TEXTS = {  # what an example says: row, text
    "response": ({"prompt": "Hi", "response": "Yes"}, "Hi → Yes"),
    "turns": (messages("s:S", "u:Hi", "a:Yes"), "Hi → Yes"),
    "completion": ({"prompt": "Hi ", "completion": "Yes"}, "Hi → Yes"),
    "text": ({"text": "Once"}, "Once"),
    "ids": ({"input_ids": build_tokenizer()("HiYes")["input_ids"], "labels": [-100, -100, 7, 7, 7]}, "Hi → Yes"),
    "a long text": ({"text": "a" * 70}, "a" * 58 + " …"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_row_is_shown_by_what_it_says(name):
    given, text = TEXTS[name]
    (row,) = by_id([given], "train").values()
    assert run_folder.text(row, build_tokenizer()) == text


def test_the_summary_names_the_examples_on_top_and_says_what_they_say(tmp_path):
    texts = {"train": {"x": "one", "y": "two", "z": "three"}, "val": {"q": "asked"}}
    rows = {part: by_id([{"id": i, "text": t} for i, t in of.items()], part) for part, of in texts.items()}
    scores = {
        method: pd.DataFrame([values], index=["q"], columns=["x", "y", "z"])
        for method, values in (("gradsim", [1.0, 3.0, 2.0]), ("repsim", [0.5, 0.25, 0.75]))
    }
    lines = run_folder.summary(scores, rows, build_tokenizer(), 2, tmp_path).splitlines()
    assert lines[:3] == ["val q: asked", "  gradsim  y (3)  z (2)", "  repsim   z (0.75)  x (0.5)"]
    assert lines[3:6] == ["    y: two", "    z: three", "    x: one"]
    assert lines[6].startswith(f"{tmp_path}/: gradsim, repsim (rows val, columns train")


def test_gradients_go_unless_this_run_or_one_before_keeps_them(tmp_path):
    gradients = tmp_path / run_folder.GRADIENTS
    for keep, left in ((False, False), (True, True), (False, True)):
        gradients.mkdir(exist_ok=True)
        run_folder.close_folder(tmp_path, keep)
        assert gradients.exists() == left


def test_a_table_of_which_nobody_knows_the_run_is_refused_and_replaced_alone(tmp_path):
    for name in ("exact.parquet", "gradsim.csv", "exact.txt", "mine.csv"):
        (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match="of a run that nobody knows; name another, or add --replace"):
        run_folder.open_folder(tmp_path, {"loss_on": "all"}, replace=False)
    run_folder.open_folder(tmp_path, {"loss_on": "all"}, replace=True)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "exact.txt", "mine.csv"}
    run_folder.open_folder(tmp_path, {"loss_on": "last"}, replace=False)  # nothing is left of the one that was refused
    run_folder.open_folder(tmp_path, {"loss_on": "all"}, replace=False)
    (tmp_path / "gradsim.csv").write_text("")
    run_folder.open_folder(tmp_path, {"loss_on": "all"}, replace=False)  # the same run goes on
    with pytest.raises(ValueError, match=r"it holds another run \(loss_on all, now last\)"):
        run_folder.open_folder(tmp_path, {"loss_on": "last"}, replace=False)
