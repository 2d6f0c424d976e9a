"""`python -m ifcore attribute` on what people have: the scores of plain PyTorch, or one line on standard error.

The command runs in this process; `test_main.py` starts it as a user does.
"""

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch

from ifcore import __main__
from tests.example_cases import Refused, chatml, marked, turns
from tests.saved_adapters import WEIGHTS, change_tensors, edit_config
from tests.tokenizers_and_templates import TEMPLATES, build_tokenizer, plain_gradient

CHATS = [{"id": n, "messages": turns("u:Hi", f"a:{'Yes' * n}", "u:Bye", "a:No")} for n in (1, 2)]
ALPACA = [{"instruction": "Hi", "input": "", "output": "Yes" * (n % 20 != 7)} for n in range(40)]
BARE = (
    "{% for m in messages %}|{{ m.role }}\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}|assistant\n{% endif %}"
)


@dataclass(frozen=True)
class Process:
    """What a command left behind: its exit code, and the texts that it wrote."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(bases, saved_lora, tmp_path, monkeypatch, capsys):
    """A function that runs the command in a folder with a base, an adapter, and rows."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(bases / "base", "base")
    shutil.copytree(saved_lora[0], "adapter")
    edit_config(Path("adapter"), base_model_name_or_path="base")
    write_rows("train.jsonl", CHATS)

    def run_command(*options, adapter="adapter", train="train.jsonl", val="train.jsonl", out="scores"):
        files = ["--adapter", adapter, "--train", train, "--val", val, "--out", out]
        methods = [] if "--methods" in options else ["--methods", "gradsim"]
        monkeypatch.setattr(sys, "argv", ["ifcore", "attribute", *files, *methods, *options])
        try:
            code = __main__.main()
        except SystemExit as error:  # argparse's
            code = error.code
        return Process(code, *capsys.readouterr())

    return run_command


@pytest.fixture
def assert_scores(saved_lora):
    """A function that compares the table of GradSim with the products of the gradients of texts with a loss in ⟦⟧."""

    def check_table(texts, reduction="mean"):
        pairs = [marked(text)(build_tokenizer()) for text in texts]
        gradients, counts = zip(
            *(plain_gradient(saved_lora[1], *pair, reduction=reduction) for pair in pairs), strict=True
        )
        rows = torch.stack(gradients)
        if reduction == "tokens":
            rows = rows * torch.tensor(counts)[:, None] / (sum(counts) / len(counts))
        table = torch.tensor(pd.read_csv("scores/gradsim.csv", index_col=0).to_numpy())
        torch.testing.assert_close(table, rows @ rows.T, rtol=1e-4, atol=1e-6)

    return check_table


def write_rows(name, rows):
    Path(name).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def chats(first="a", last="A", think=""):
    """The texts of CHATS, with their first or last answers in the loss."""
    return [chatml("u:Hi", f"{first}:{'Yes' * n}", "u:Bye", f"{last}:No", think=think) for n in (1, 2)]


def whole_chats():
    return [f"⟦{text}⟧" for text in chats(last="a")]


def bare_chats():
    """The same by the template BARE."""
    return [f"|user\nHi|assistant\n{'Yes' * n}|user\nBye|assistant\n⟦No⟧" for n in (1, 2)]


LOSSES = {
    "auto": ((), chats()),
    "last": (("--loss-on", "last"), chats()),
    "assistant": (("--loss-on", "assistant"), chats("A")),
    "all": (("--loss-on", "all"), whole_chats()),
    "sum": (("--loss-on", "assistant", "--reduction", "sum"), chats("A")),
    "tokens": (("--loss-on", "assistant", "--reduction", "tokens"), chats("A")),
    "bare folder": (("--model", "base"), chats()),
    "path": (("--model", "path:base"), chats()),
    "template file": (("--chat-template", "bare.jinja"), bare_chats()),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_command_differentiates_the_loss_that_its_options_say(run, assert_scores, name):
    options, texts = LOSSES[name]
    Path("bare.jinja").write_text(BARE)
    process = run(*options)
    assert process.code == 0, process.err
    assert_scores(texts, reduction=options[-1] if "--reduction" in options else "mean")
    assert "train: 2 rows" in process.err and "⟦" in process.err and "Was that the loss?" in process.err


def put_template(place, name="chat_template.jinja"):
    """What writes the template into a file by itself, and leaves no other."""

    def prepare():
        for folder in ("base", "adapter"):
            Path(folder, "chat_template.jinja").unlink(missing_ok=True)
        Path(place, name).parent.mkdir(exist_ok=True)
        Path(place, name).write_text(TEMPLATES["think"])

    return prepare


PLACES = {
    "the adapter's": (put_template("adapter"), ()),
    "the base's": (put_template("base"), ()),
    "a file": (put_template(".", "own.jinja"), ("--chat-template", "own.jinja")),
    "the adapter's with a tokenizer": (lambda: build_tokenizer("bytes", "think").save_pretrained("adapter"), ()),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_template_is_process_where_people_have_it(run, assert_scores, name):
    prepare, options = PLACES[name]
    prepare()
    process = run(*options)
    assert process.code == 0, process.err
    assert_scores(chats(think="<think>\n\n</think>\n\n"))


def test_a_base_without_a_tokenizer_has_the_adapters(run, assert_scores):
    build_tokenizer().save_pretrained("adapter")
    for path in [*Path("base").glob("tokenizer*"), Path("base/chat_template.jinja")]:
        path.unlink()
    process = run()
    assert process.code == 0, process.err
    assert_scores(chats())


def nothing():
    pass


def break_adapter():
    change_tensors(Path("adapter", WEIGHTS), lambda saved: {name: saved[name] for name in saved if "layers.0" in name})


def writing(rows):
    return lambda: write_rows("train.jsonl", rows)


def leave_tables():
    Path("scores").mkdir()
    Path("scores/gradsim.csv").write_text("")


REFUSED = {
    "no adapter": (nothing, {"adapter": "base"}, Refused("--adapter base: no adapter_config.json", "save_pretrained")),
    "no such adapter": (nothing, {"adapter": "nowhere"}, Refused("--adapter nowhere", "no adapter_config.json")),
    "half an adapter": (break_adapter, {}, Refused("--adapter adapter", "layers.1", "save it again")),
    "half an adapter, repsim": (break_adapter, {"options": ("--methods", "repsim")},
        Refused("--adapter adapter", "layers.1")),
    "no such model": (nothing, {"options": ("--model", "nowhere")}, Refused("model: 'nowhere'", "path:FOLDER")),
    "no such folder": (nothing, {"options": ("--model", "path:nowhere")},
        Refused("model: 'path:nowhere'", "config.json")),
    "no such train": (nothing, {"train": "nowhere.jsonl"}, Refused("nowhere.jsonl")),
    "no such method": (nothing, {"options": ("--methods", "gradsim,trak")}, Refused("methods: 'trak'", "choose from")),
    "no methods": (nothing, {"options": ("--methods", ",")}, Refused("methods: none", "choose from")),
    "a method of checkpoints": (nothing, {"options": ("--methods", "tracin")},
        Refused("methods: tracin needs checkpoints", "--checkpoints")),
    "empty answers": (writing(ALPACA), {}, Refused("train.jsonl, line 8", "--skip-empty")),
    "no answers": (writing([{"text": ""}]), {"options": ("--skip-empty",)},
        Refused("no row with anything in its loss")),
    "an id twice": (writing([CHATS[0], CHATS[0]]), {}, Refused("train.jsonl, line 2: id 1 is there already")),
    "no such template": (nothing, {"options": ("--chat-template", "nowhere")},
        Refused("chat_template: 'nowhere'", "auto, none, a file")),
    "batches of none": (nothing, {"options": ("--batch-size", "0")}, Refused("batch_size: 0", "at least 1")),
    "no memory": (nothing, {"options": ("--memory-budget", "two")}, Refused("memory_budget: 'two'", "2GiB")),
    "a length of one": (nothing, {"options": ("--max-length", "1")}, Refused("max_length: 1", "2 tokens or more")),
    "out is a file": (nothing, {"out": "train.jsonl"}, Refused("train.jsonl", "--out")),
    "a table of nobody": (leave_tables, {}, Refused("--out scores", "nobody knows", "--replace")),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_attributed_is_one_line_and_an_exit_code(run, name):
    prepare, arguments, expected = REFUSED[name]
    prepare()
    process = run(*arguments.get("options", ()), **{key: value for key, value in arguments.items() if key != "options"})
    line = process.err.strip().splitlines()[-1]
    expected.check(line)
    assert process.code == 1 and line.startswith("ifcore attribute: ") and "Traceback" not in process.err
    assert not list(Path("scores").glob("*.parquet")) and process.out == ""


def test_a_folder_holds_one_run(run, assert_scores):
    assert run().code == 0
    table = Path("scores/gradsim.csv").read_bytes()
    assert run().code == 0  # the same again
    other = run("--loss-on", "all")
    assert other.code == 1 and "it holds another run (loss_on auto, now all)" in other.err and "--replace" in other.err
    write_rows("train.jsonl", CHATS[::-1])
    assert "it holds another run (train " in run().err
    assert Path("scores/gradsim.csv").read_bytes() == table


def test_a_template_file_that_was_changed_is_another_run(run):
    Path("own.jinja").write_text(BARE)
    assert run("--chat-template", "own.jinja").code == 0
    Path("own.jinja").write_text(TEMPLATES["think"])
    other = run("--chat-template", "own.jinja")
    assert other.code == 1 and "it holds another run (template " in other.err


def test_scores_of_another_loss_are_not_validated(run, monkeypatch, capsys):
    assert run("--loss-on", "all").code == 0
    options = "--adapter adapter --train train.jsonl --val train.jsonl --bank bank --scores scores --epochs 1 "
    options += "--learning-rate 0.001 --train-batch-size 2"
    monkeypatch.setattr(sys, "argv", ["ifcore", "validate", *options.split()])
    assert __main__.main() == 1
    assert "they are of loss_on all, not auto; give the same loss, or compute them" in capsys.readouterr().err


def test_replace_removes_the_tables_of_the_other_run_and_nothing_else(run, assert_scores):
    assert run("--methods", "repsim").code == 0
    Path("scores/notes.txt").write_text("mine")
    Path("scores/mine.csv").write_text("a,b\n")
    assert run("--loss-on", "all", "--replace").code == 0
    assert_scores(whole_chats())
    names = {path.name for path in Path("scores").iterdir()}
    assert names == {"gradsim.csv", "run.json", "notes.txt", "mine.csv"}
    assert Path("scores/notes.txt").read_text() == "mine" and Path("scores/mine.csv").read_text() == "a,b\n"
    assert json.loads(Path("scores/run.json").read_text())["loss_on"] == "all"


def test_the_summary_shows_texts(run):
    lines = run().out.splitlines()
    assert lines[0] == "val 1: Bye → No" and lines[1].startswith("  gradsim  ")
    assert "    2: Bye → No" in lines


@pytest.mark.parametrize("methods", [("gradsim,repsim",), ("gradsim", "repsim"), ("gradsim,", "repsim")])
def test_methods_are_separated_by_commas_or_spaces(run, methods):
    process = run("--methods", *methods)
    assert process.code == 0, process.err
    assert sorted(path.name for path in Path("scores").glob("*.csv")) == ["gradsim.csv", "repsim.csv"]


def test_forty_records_two_of_them_empty(run):
    write_rows("train.jsonl", ALPACA)
    write_rows("val.jsonl", CHATS)
    process = run("--skip-empty", val="val.jsonl")
    assert process.code == 0 and "38 rows, 2 with nothing in their loss left out" in process.err
    columns = pd.read_csv("scores/gradsim.csv", index_col=0).columns.tolist()
    assert columns == [str(n) for n in range(40) if n not in (7, 27)]


def test_help_says_what_each_method_is(run):
    process = run("--help")
    assert process.code == 0 and "Traceback" not in process.err
    for words in ("gradsim", "repsim", "example", "--loss-on", "--skip-empty", "--replace", "input_ids"):
        assert words in process.out
