"""What README, CONTRIBUTING and the guide name is there, and the README's example is run as it stands."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import pytest

from ifcore import __main__, loading, lora, methods

ROOT = Path(__file__).parents[1]
README, OWN = ROOT / "README.md", ROOT / "book" / "guide" / "own.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book" / "guide").glob("*.md"))]
MADE = ("book/executed", "notebooks/my", "results/bench", "results/laptop")  # by commands
MADE += ("notebooks/NAME", "notebooks/profiles/mine", "study/chapters/NAME")  # by the reader
ROWS = [{"prompt": f"Say {n}", "response": f"{n} it is"} for n in range(8)]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
with_the_example = pytest.mark.parametrize("page", [README, OWN], ids=lambda page: page.stem)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder that has what the example names."""
    model, tokenizer = loading.load("random:tiny-llama")
    model.save_pretrained(tmp_path / "my-base-model")
    tokenizer.save_pretrained(tmp_path / "my-base-model")
    lora.add_lora(model).save_pretrained(tmp_path / "my-adapter")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@with_the_example
def test_the_example_for_ones_own_fine_tune_runs(page, folder, capsys):
    first, *validation = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(compile(first, page.name, "exec"), names)
    assert all(frame.shape == (1, 2) for frame in names["scores"].values())
    assert str(names["scores"]["exact"]) in capsys.readouterr().out
    names["train"] = ROWS  # two have no halves
    for code in (code for code in validation if "from trl" not in code):  # which is in no environment of ours
        exec(compile(code, page.name, "exec"), names)
        assert "ranks halves as retraining does with" in capsys.readouterr().out


@with_the_example
def test_the_commands_for_ones_own_fine_tune_leave_their_tables(page, folder, monkeypatch):
    text = page.read_text(encoding="utf-8").replace("\\\n", "")
    attribute, validate = sorted(re.findall(r"\npython -m ifcore (.*)\n", text))
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "val.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    for command in (attribute, f"{validate.replace('--minutes 30', '--minutes 0.2')} --model path:my-base-model"):
        monkeypatch.setattr("sys.argv", ["ifcore", *command.split()])
        assert __main__.main() == 0
    assert {path.stem for path in (folder / "scores").glob("*.csv")} == set(methods.DEFAULT)
    assert (folder / "retrained" / "validation.csv").is_file()


def test_the_readme_can_be_scanned():
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


@each_page
def test_the_files_that_a_page_names_and_links_to_are_there(page):
    text = page.read_text(encoding="utf-8")
    paths = re.findall(r"`((?:ifcore|study|tests|notebooks|book|results|\.github)/[\w./-]*)`", text)
    missing = [
        path for path in paths if not path.startswith(MADE) and "NAME" not in path and not (ROOT / path).exists()
    ]
    assert missing == []
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]+)(?:#([^)]+))?\)", text):
        linked = page.parent / target
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE) if anchor else []
        slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in slugs, f"{target}#{anchor}"


@each_page
def test_the_commands_modules_and_names_of_a_page_are_there(page):
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:`|\n)make ([a-z]+)", text)) <= targets
    assert all(find_spec(module) for module in re.findall(r"python -m ((?:ifcore|study)[\w.]*)", text))
    for name in re.findall(r"`(ifcore\.[\w.]+)`", text):
        resolve_name(name)


def test_the_new_names_in_the_changelog_are_there():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    cells = re.findall(r"^ *\| `.+` \| (`.+`) \|$", text, re.MULTILINE)
    names = [name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)]
    assert names
    for name in names:
        resolve_name(f"ifcore.{name.removeprefix('ifcore.')}")
