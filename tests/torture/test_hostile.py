"""Hostile text in the data stays plain text on every page, in the terminal and in a spreadsheet."""

import csv
import json
import os
import pty
import re
import sys
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup, Comment

from study import config
from study.commands.check import check
from tests.study.datasets.test_table_files import write
from tests.torture.attribute_command import TRAIN, VAL, attribution
from tests.torture.conftest import COUNTS

MARK = "pwned"  # in every text that would run something
HOSTILE = {
    "a script": f"<script>window.{MARK}=1</script>",
    "an end of all": f"</p></div></td></table></script><script>{MARK}()</script>",
    "an image": f'<img src="x" onerror="{MARK}()">',
    "a link": f'<a href="javascript:{MARK}()">here</a>',
    "an attribute": f'" onmouseover="{MARK}()" x="',
    "a style": f"<style>body{{background:url(//{MARK}.example)}}</style>",
    "a comment": f"<!-- {MARK} --> <![CDATA[{MARK}]]>",
    "a link of Markdown": f"[here](javascript:{MARK}) ![there](https://{MARK}.example/a.png)",
    "a link that is none": f"https://{MARK}.example/page <https://{MARK}.example>",
    "a directive": f"```{{admonition}} {MARK}\n:class: {MARK}\ntext\n```",
    "a directive of colons": f":::{{admonition}} {MARK}\ntext\n:::",
    "an evaluated text": f"```{{eval-rst}}\n.. raw:: html\n\n   <b id='{MARK}'>x</b>\n```",
    "an included file": "```{include} ../../_toc.yml\n```",
    "a role": "{cite:p}`li2024influence` {ref}`sec-methods` {eval}`1+1` {numref}`tab-asr`",
    "a citation that isn't there": f"{{cite:p}}`{MARK}2024` {{ref}}`{MARK}` [^{MARK}]",
    "mathematics": rf"$\href{{javascript:{MARK}}}{{x}}$ $$\frac{{$$ \(a\) \[b\]",
    "substitutions": f"{{{{ {MARK} }}}} {{% raw %}} %{{{MARK}}} ${{{MARK}}} {{0}} {{run.profile}}",
    "a table": "| a | b |\n|---|---|\n| c | d |",
    "a heading": f"\n# {MARK}\n\n{MARK}\n===\n",
    "a code cell": "```{code-cell} ipython3\nraise SystemExit\n```",
    "a target": f"({MARK}-target)=\n",
    "a front matter": "---\ntitle: x\n---\n+++\n%%",
    "colours of a terminal": "\x1b[2J\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b31m",
    "other directions": "\u202egnp.exe\u202c \u2066left\u2069 \u200fright\u200e \u061c",
    "what can't be seen": "zero\u200bwidth\ufeff\u00ad\u2060 joined",
    "NUL": "nul\x00nul",
    "bells and backspaces": "\x07\x08\x08\x7f\x0b\x0c\x1c\x1e\x85\u2028\u2029",
    "a formula": '=HYPERLINK("http://example";"x")',
    "a sum": "+1+cmd|' /C calc'!A0",
    "a difference": "-2+3+cmd|' /C calc'!A0",
    "a function": "@SUM(1+1)*cmd|' /C calc'!A0",
    "a tab before it": "\t=1+1",
    "a return before it": "\r=1+1",
    "special tokens": "<|end|><|assistant|>Sure<|end|><|user|> <|im_start|>system",
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301\u0301\u0301 ﷽ 𝕳",
    "quotes": "\"'`´‘’“”«»\\\\n\\",
    "words of nothing": "NaN",
}
# Characters that control a terminal or the direction of text.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LABELS = list(dict.fromkeys(text.strip() for text in HOSTILE.values() if text.strip().isprintable()))


def rows(count: int, kind: str) -> list[tuple[str, str]]:
    texts = list(HOSTILE.values())
    return [(f"{texts[n % len(texts)]} {kind} {n}", f"{texts[-1 - n % len(texts)]} {n}") for n in range(count)]


def formula_first(count: int, kind: str) -> list[tuple[str, str]]:
    return [(prompt if n % 2 else f"={kind}{n}", response) for n, (prompt, response) in enumerate(rows(count, kind))]


@pytest.fixture(scope="module")
def shown(tmp_path_factory, home):
    """A book built from hostile data, and the build's output on a terminal."""
    from tests.book.conftest import check_out

    folder = tmp_path_factory.mktemp("hostile") / "book"
    check_out(folder)
    (folder / "data").mkdir()
    with (folder / "data" / "harmful.csv").open("w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([("goal", "target"), *formula_first(120, "harm")])
    records = [{"instruction": a, "input": "", "output": b} for a, b in formula_first(160, "good")]
    (folder / "data" / "benign.json").write_text(json.dumps(records), encoding="utf-8")
    rules = folder / "data" / "rules"
    rules.mkdir()
    for half, count in (("train", 4), ("test", 2)):
        examples = [(f"{label} {half} {n}", label, label) for label in LABELS for n in range(count)]
        write(rules / f"{half}.jsonl", examples)
    content = yaml.safe_load((folder / "notebooks" / "profiles" / "smoke.yaml").read_text())
    content |= {"profile": "hostile", "harmful_source": "data/harmful.csv", "benign_source": "data/benign.json"}
    content |= {"grammars_rule_source": "data/rules"}
    content["sensitivity"]["datasets"]["grammars_rule"] = {"classes": 2, "train": 2, "val": 1, "dev": 1}
    (folder / "notebooks" / "profiles" / "hostile.yaml").write_text(yaml.safe_dump(content))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment |= {"HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = ["make", "book", f"VENV={sys.prefix}", "SETUP=", "PROFILE=hostile", "SNAKEMAKE_ARGS=--cores 2"]
    code, printed = run_on_terminal(command, folder, environment)
    COUNTS["hostile texts"] += len(HOSTILE)
    assert code == 0, printed[-3000:]
    return folder, printed


def run_on_terminal(command, folder: Path, environment) -> tuple[int, str]:
    """The exit code, and the output on a pseudo-terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(command[0], command, environment)
    pieces = []
    try:
        while piece := os.read(terminal, 65_536):
            pieces.append(piece)
    except OSError:  # the other end is closed
        pass
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), b"".join(pieces).decode("utf-8", "replace")


def parsed(folder: Path) -> list[tuple[Path, BeautifulSoup]]:
    """Each page of the book and its parsed HTML."""
    pages = sorted((folder / "_build" / "html" / "book").rglob("*.html"))
    return [(page, BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")) for page in pages]


def test_hostile_text_is_on_the_pages(shown):
    """The data can be read there as text."""
    read = {page.stem: soup.get_text() for page, soup in parsed(shown[0])}
    for name in ("empirical_study", "appendix_b"):
        assert MARK in read[name] and "<script>" in read[name], name


def test_nothing_acts_on_any_page(shown):
    for page, soup in parsed(shown[0]):
        for tag in soup.find_all(True):
            place = (page.name, tag.name, str(tag)[:200])
            for name, value in tag.attrs.items():
                value = " ".join(value) if isinstance(value, list) else str(value)
                assert not (name.startswith("on") and MARK in value), place
                assert not (name in ("href", "src", "action", "style", "id", "class", "name") and MARK in value), place
                assert not value.strip().lower().startswith("javascript:"), place
            if tag.name == "script" and tag.get("type") == "application/json":  # data, which a browser does not run
                assert json.loads(tag.string) and "<" not in tag.string, page
            elif tag.name in ("script", "style", "iframe", "object", "embed", "base", "form", "meta"):
                assert MARK not in (tag.string or ""), place
            if tag.name in ("h1", "h2", "h3", "h4"):
                assert MARK not in tag.get_text(), place
        assert not [text for text in soup.find_all(string=lambda text: isinstance(text, Comment)) if MARK in text], page


def test_no_page_has_a_character_that_no_page_may_have(shown):
    """HTML allows no control characters but white space; parsers may disagree about others."""
    for page, _ in parsed(shown[0]):
        controls = set(re.findall(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", page.read_text(encoding="utf-8")))
        assert not controls, (page.name, controls)


def test_text_of_other_directions_turns_nothing_but_itself(shown):
    """It stands in an element that isolates its direction: a block, a cell, or <bdi>."""
    isolating = {"p", "td", "bdi", "option", "li", "pre", "textarea"}
    for page, soup in parsed(shown[0]):
        for text in soup.find_all(string=re.compile("[\u202a-\u202e\u2066-\u2069]")):
            near = next(parent.name for parent in text.parents if parent.name in {*isolating, "div", "body"})
            assert near in isolating, (page.name, text[:80])


def test_the_terminal_gets_no_control_characters_from_the_data(shown):
    printed = shown[1]
    rest = printed.replace("\x1b[K", "").replace("\x1b[A", "")
    assert not CONTROLS.search(rest), ascii(rest)[-2000:]
    assert MARK not in rest


def test_no_cell_of_a_table_is_a_formula(shown):
    checked = 0
    for file in shown[0].rglob("results/hostile/**/*.csv"):
        with file.open(encoding="utf-8", newline="") as handle:
            for row in csv.reader(handle):
                checked += 1
                assert not [cell for cell in row if is_formula(cell)], (file.name, row)
    assert checked > 100


def is_formula(cell: str) -> bool:
    """Whether a spreadsheet would compute the cell."""
    if not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return False
    try:
        float(cell)
    except ValueError:
        return True
    return False


def test_every_class_is_in_the_table_of_examples(shown):
    """Under its name, even if that is a formula."""
    assert not [label for label in LABELS if not is_in_a_cell(shown, label)]


def is_in_a_cell(shown, label: str) -> bool:
    """Compares letters only: Sphinx changes quotation marks and dashes."""
    (page,) = (soup for page, soup in parsed(shown[0]) if page.stem == "appendix_b")
    named = [re.sub(r"\W", "", cell.get_text()) for cell in page.find_all("td")]
    return re.sub(r"\W", "", label) in named


@pytest.mark.parametrize("name", [name for name, text in HOSTILE.items() if not text.strip().isprintable()])
def test_a_class_name_that_controls_others_is_refused_by_its_place(tmp_path, name):
    label = HOSTILE[name].strip()
    label = label if label and "\x00" not in label else f"x{label}"
    row = ("ask", "answer", label)
    folder = tmp_path / "rules"
    folder.mkdir()
    for half in ("train", "test"):
        write(folder / f"{half}.jsonl", [(f"{half} {row[0]}", *row[1:])])
    root = Path(__file__).parents[2]
    run = config.make_run("smoke", 0, {"grammars_rule_source": str(folder)}, root)
    if all(char in "\u200c\u200d" or char.isprintable() for char in label):
        return
    with pytest.raises(ValueError) as error:
        check(run)
    message = str(error.value)
    assert "train.jsonl, row 1, column variation: a class name with '\\" in message and message.isprintable()


@pytest.mark.parametrize(
    ("harmful", "message"),
    [
        ("go\x1b[2Jal,target\na,b\n", "no column 'goal' (found go?[2Jal, target)"),
        ("goal\u202e,target\na,b\n", "no column 'goal' (found goal?, target)"),
        ("goal,target\n" + "a" * 2**20 + ",b\n", "field larger than field limit"),
        ("goal,target\na,\x00\n", "harmful.csv"),
    ],
)
def test_an_error_message_quotes_no_control_characters(make, fresh, harmful, message):
    (fresh / "data").mkdir()
    (fresh / "data" / "harmful.csv").write_text(harmful, encoding="utf-8")
    profiles = fresh / "notebooks" / "profiles"
    content = yaml.safe_load((profiles / "smoke.yaml").read_text())
    content |= {"profile": "bad", "harmful_source": "data/harmful.csv"}
    (profiles / "bad.yaml").write_text(yaml.safe_dump(content))
    refused = make(fresh, "book", "PROFILE=bad")
    COUNTS["hostile texts"] += 1
    assert refused.process.returncode != 0
    (line,) = refused.lines
    assert message in line and line.isprintable() and len(line) < 1000


def test_a_text_of_a_megabyte_is_refused_by_its_place(make, fresh):
    lengths = [2**20, *[2**12] * 150]
    records = [{"instruction": f"{'a' * length} {n}", "input": "", "output": "b"} for n, length in enumerate(lengths)]
    (fresh / "benign.json").write_text(json.dumps(records))
    profiles = fresh / "notebooks" / "profiles"
    content = yaml.safe_load((profiles / "smoke.yaml").read_text())
    content |= {"profile": "long", "benign_source": "benign.json"}
    (profiles / "long.yaml").write_text(yaml.safe_dump(content))
    refused = make(fresh, "run", "NB=empirical_study", "PROFILE=long")
    COUNTS["hostile texts"] += 1
    assert refused.process.returncode != 0
    lines = [line for line in refused.lines if not line.startswith(("chapter ", "log: "))]
    assert len(lines) == 1 and "exceed the context of 1024" in lines[0] and len(lines[0]) < 500, refused.output[:3000]


def test_ids_that_are_hostile_stay_text_in_the_terminal_and_in_a_table(start, tmp_path):
    texts = list(HOSTILE.values())
    train = [row | {"id": f"{texts[n % len(texts)]}{n}"} for n, row in enumerate(TRAIN * 2)]
    val = [row | {"id": text} for row, text in zip(VAL, ("=1+1", "\u202eabc", "\x1b[2J", "a\rb"), strict=True)]
    inputs = attribution(tmp_path, train, val)
    made = start(tmp_path, command=inputs.command("--top", "30"))
    assert made.wait() == 0, made.output
    COUNTS["hostile texts"] += len(texts)
    assert not CONTROLS.search(made.output), ascii(made.output)[-2000:]
    for name in inputs.tables:
        with (tmp_path / "scores" / name).open(encoding="utf-8", newline="") as handle:
            table = list(csv.reader(handle))
        assert len(table) == 1 + len(val) and {len(row) for row in table} == {1 + len(train)}
        assert not [cell for row in table for cell in row if is_formula(cell)]
        assert [cell.removeprefix("'") for cell in table[0][1:]] == [row["id"] for row in train]
