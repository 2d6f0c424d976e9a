"""An error in a profile, a seed, a source or a file of rows ends in one line that names it."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from ifcore import attribution, gradient_store
from ifcore.row_files import read_rows
from ifcore.rows import by_id
from study import config
from study.commands.check import check
from study.pipeline import model_sources

ROOT = Path(__file__).parents[2]
SMOKE = yaml.safe_load((ROOT / "notebooks" / "profiles" / "smoke.yaml").read_text())


@pytest.fixture
def root(tmp_path):
    shutil.copytree(ROOT / "notebooks" / "profiles", tmp_path / "notebooks" / "profiles")
    return tmp_path


def error_line(error):
    """The error's one line."""
    line = str(error.value)
    assert "\n" not in line and line == line.strip() and len(line) < 500, line
    return line


KEYS = [  # key, wrong value
    ("model", 3),
    ("precision", "float16"),
    ("precision", None),
    ("datasets", []),
    ("datasets", {"mixed_tiny": {"train": 1, "val": 1}}),
    ("datasets", {"mixed_small": {"train": 0, "val": 1}}),
    ("datasets", {"mixed_small": {"train": 1}}),
    ("datasets", {"mixed_small": {"train": 1, "val": "two"}}),
    ("datasets", {"mixed_small": {"train": {"harmful": -1, "benign": 2}, "val": 1}}),
    ("datasets", {"mixed_small": {"train": {"evil": 1}, "val": 1}}),
    ("datasets", {"grammars": {"train": 10**9, "val": 1}}),
    ("datasets", {"grammars": {"train": 1, "val": 1, "classes": ["uppercase", "uppercase"]}}),
    ("datasets", {"grammars": {"train": 1, "val": 1, "classes": ["no such"]}}),
    ("datasets", {"grammars": {"train": 1, "val": 1, "classes": 99}}),
    ("epochs", 0),
    ("epochs", -3),
    ("epochs", "ten"),
    ("epochs", 1.5),
    ("batch_size", 0),
    ("batch_size", None),
    ("learning_rate", 0),
    ("learning_rate", -1e-3),
    ("learning_rate", float("nan")),
    ("learning_rate", float("inf")),
    ("learning_rate", "fast"),
    ("patience", 0),
    ("lora_rank", 0),
    ("lora_dropout", 1.0),
    ("lora_dropout", -0.1),
    ("methods", []),
    ("methods", ["gradsim", "gradsim"]),
    ("methods", ["trak"]),
    ("methods", "gradsim"),
    ("damping", 0),
    ("damping", float("inf")),
    ("lissa_iterations", 0),
    ("max_new_tokens", 0),
    ("facts_removed", 2),
    ("layers_on", "no such data set"),
    ("linear", {"points": [5]}),
    ("linear", {"parameters": [15, 25]}),
    ("two_layer", {"widths": []}),
    ("alignment", {"epochs": 0}),
    ("alignment", {"refusals": "many"}),
    ("sensitivity", {"datasets": {}}),
    ("counterfactual", {"halves": 1}),
    ("counterfactual", {"removed": 0}),
    ("counterfactual", {"by": ["no such method"]}),
    ("further_models", "one"),
    ("lerning_rate", 1),
    ("Epochs", 3),
]


@pytest.mark.parametrize(("key", "value"), KEYS, ids=[f"{key}={value}"[:60] for key, value in KEYS])
def test_a_profiles_wrong_key_is_named(root, key, value):
    content = SMOKE | {"profile": "wrong", key: value}
    (root / "notebooks" / "profiles" / "wrong.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError) as error:
        check(config.make_run("wrong", 0, root=root))
    line = error_line(error)
    assert key in line or key == "datasets" and any(name in line for name in value)


TEXTS = {
    "nothing": "",
    "a list": "- 1\n- 2\n",
    "a word": "profile\n",
    "not YAML": "profile: [smoke\n",
    "a tab": "profile:\tsmoke\n\tmodel: x\n",
    "bytes": b"\xff\xfe\x00profile",
    "NUL": "profile: sm\x00oke\n",
    "an object": "profile: !!python/object/apply:os.system ['true']\n",
    "a bomb": "a: &a [x,x,x]\nb: &b [*a,*a,*a]\nprofile: *b\n",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_that_is_no_profile_is_named(root, name):
    file, text = root / "notebooks" / "profiles" / "wrong.yaml", TEXTS[name]
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as error:
        config.make_run("wrong", 0, root=root)
    assert "wrong" in error_line(error)


@pytest.mark.parametrize("seed", [-1, 1.5, "one", None, True, 10**40])
def test_a_seed_that_is_none_is_named(root, seed):
    with pytest.raises(ValueError) as error:
        config.make_run("smoke", seed, root=root)
    assert "seed" in error_line(error)


ROWS = {
    "no JSON": "{prompt: a}\n",
    "half a row": '{"prompt": "a", "resp',
    "a list": '["a", "b"]\n',
    "no response": '{"prompt": "a"}\n',
    "a number": '{"prompt": "a", "response": 3}\n',
    "null": '{"prompt": "a", "response": null}\n',
    "no turns": '{"messages": []}\n',
    "a turn without a role": '{"messages": [{"content": "a"}, {"role": "assistant", "content": "b"}]}\n',
    "an id twice": '{"id": 1, "prompt": "a", "response": "b"}\n{"id": 1, "prompt": "c", "response": "d"}\n',
    "an id that is a list": '{"id": [1], "prompt": "a", "response": "b"}\n',
    "nothing": "",
    "bytes": b"\xff\xfe\x00\x01",
    "NaN": '{"prompt": "a", "response": NaN}\n',
}


@pytest.mark.parametrize("name", ROWS)
def test_a_wrong_row_is_named_by_file_and_place(tmp_path, name):
    file, text = tmp_path / "train.jsonl", ROWS[name]
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as error:
        by_id(read_rows(file), "train")
    assert "train" in error_line(error)


@pytest.mark.parametrize(
    "source", ["", "smollm2", "pypi:no-such==1", "hub:../x", "hub:a", "path:/no/such", "file:///etc"]
)
def test_a_source_that_is_none_is_named(source):
    with pytest.raises(ValueError) as error:
        model_sources.check(source)
    assert "model" in error_line(error)


@pytest.mark.parametrize("budget", ["", "two", "-1GiB", "0", "1 XB", None, "1e400"])
def test_a_memory_budget_that_is_none_is_named(budget):
    with pytest.raises(ValueError) as error:
        attribution._bytes(budget)
    assert "memory_budget" in error_line(error)


def test_a_store_without_shards_is_named(tmp_path):
    with pytest.raises(ValueError) as error:
        gradient_store.Store([])
    assert "shards" in error_line(error)


def test_hostile_rows_stay_text(tmp_path):
    """Control characters of writing direction and terminals, HTML, MyST, NUL, and a line of a megabyte."""
    hostile = ["\u202eabc\u2066", "\x1b[2J\x1b[31m", "<script>alert(1)</script>", "\x00", "a" * 2**20, "```{eval-rst}"]
    file = tmp_path / "train.jsonl"
    file.write_text("".join(json.dumps({"prompt": text, "response": text}) + "\n" for text in hostile))
    rows = by_id(read_rows(file), "train")
    assert [row.example.response for row in rows.values()] == hostile
