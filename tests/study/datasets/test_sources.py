"""Published files: read as they are published, and refused in one line that says where and why."""

import csv
import json

import pytest
from huggingface_hub.errors import HTTPError

from study import datasets
from study.datasets import harmful, sources


@pytest.fixture
def advbench(tmp_path):
    def write(rows, header=("goal", "target"), name="advbench.csv"):
        path = tmp_path / name
        with path.open("w", encoding="utf-8", newline="") as handle:
            csv.writer(handle).writerows([header, *rows])
        return str(path)

    return write


@pytest.fixture
def alpaca(tmp_path):
    def write(records, name="alpaca.json"):
        path = tmp_path / name
        path.write_text(json.dumps(records), encoding="utf-8")
        return str(path)

    return write


def goals(count):
    return [(f"Do mischief number {i}, please", f'Sure, here is "mischief" {i}') for i in range(count)]


def instructions(count):
    return [{"instruction": f"Say {i}", "input": "", "output": f"It is {i}."} for i in range(count)]


def complaint(call):
    with pytest.raises(ValueError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_advbench_gives_its_first_rows_for_training_and_others_for_validation(advbench):
    path, rows = advbench(goals(30)), goals(30)
    splits = [datasets.load("mixed_small", {"harmful": 8}, {"harmful": 5}, seed, harmful=path) for seed in (0, 1)]
    for split in splits:
        assert [(e.prompt, e.response) for e in split.train] == rows[:8]
        assert {(e.prompt, e.response) for e in split.val} < set(rows[8:])
    assert splits[0].val != splits[1].val


def test_alpaca_puts_the_input_below_the_instruction(alpaca):
    records = [
        {"instruction": "Sort these.", "input": "b, a", "output": "a, b"},
        {"instruction": "Greet me.", "input": "", "output": "Hello!"},
        {"instruction": "Wave.", "output": "Waving."},
    ]
    assert sources.alpaca(alpaca(records)) == [
        ("Sort these.\n\nb, a", "a, b"),
        ("Greet me.", "Hello!"),
        ("Wave.", "Waving."),
    ]


def test_alpaca_is_drawn_at_random(alpaca):
    path = alpaca(instructions(40))
    first, second = (datasets.load("mixed_small", {"benign": 10}, {"benign": 10}, s, benign=path) for s in (0, 1))
    assert first.train != second.train
    assert not {e.prompt for e in first.train} & {e.prompt for e in first.val}


def test_quoted_commas_and_line_breaks_are_text(advbench):
    row = ("Do this,\nthen that", "Sure, a, b")
    assert sources.advbench(advbench([row])) == [row]


def test_a_prompt_that_appears_again_is_skipped(advbench, alpaca):
    assert len(sources.advbench(advbench([*goals(3), ("Do mischief number 1, please", "Sure")]))) == 3
    assert len(sources.alpaca(alpaca(instructions(3) * 2))) == 3


@pytest.mark.parametrize(
    ("header", "rows", "words"),
    [
        (("goal", "answer"), goals(1), ["no column 'target'", "goal, answer"]),
        (("goal", "target"), [("a", "b"), ("c", " ")], ["row 2, column target: empty"]),
        (("goal", "target"), [("", "b")], ["row 1, column goal: empty"]),
        (("goal", "target"), [("a",)], ["row 1, column target: empty"]),
        (("goal", "target"), [("a", "b", "c")], ["row 1", "more cells than columns", "quotes"]),
    ],
)
def test_a_bad_csv_is_refused(advbench, header, rows, words):
    path = advbench(rows, header)
    message = complaint(lambda: sources.advbench(path))
    assert message.startswith(path) and "; " in message
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ({"instruction": "a"}, ["dict", "not a list", "[ ]"]),
        ([["a"]], ["row 1", "list", "not an object"]),
        ([*instructions(1), {"instruction": "c"}], ["row 2: no column 'output'", "(found instruction)"]),
        ([{"instruction": " ", "output": "b"}], ["row 1, column instruction: empty"]),
        ([{"instruction": "a", "output": ""}], ["row 1, column output: empty"]),
        ([{"instruction": "a", "output": 7}], ["row 1, column output: a value of type int"]),
        ([{"instruction": "a", "input": ["x"], "output": "b"}], ["row 1, column input: a value of type list"]),
    ],
)
def test_bad_json_records_are_refused(alpaca, records, words):
    path = alpaca(records)
    message = complaint(lambda: sources.alpaca(path))
    assert message.startswith(path) and "; " in message
    assert all(word in message for word in words)


def test_files_that_are_not_what_they_are_called_are_refused(tmp_path):
    for name, read in (("a.json", sources.alpaca), ("a.csv", sources.advbench)):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00[")
        assert "not a UTF-8" in complaint(lambda name=name, read=read: read(str(tmp_path / name)))
    (tmp_path / "b.json").write_text("[{")
    assert "not a UTF-8 JSON file" in complaint(lambda: sources.alpaca(str(tmp_path / "b.json")))
    (tmp_path / "c.csv").write_text("")
    assert "no column 'goal' (found none)" in complaint(lambda: sources.advbench(str(tmp_path / "c.csv")))


def test_a_wrong_extension_or_a_missing_file_is_refused(alpaca, tmp_path):
    path = alpaca(instructions(3))
    assert "the extension .json is not read here; AdvBench" in complaint(lambda: sources.advbench(path))
    missing = str(tmp_path / "no.csv")
    assert "no such file" in complaint(lambda: sources.advbench(missing))


def test_too_few_rows_say_how_many_there_are_and_are_needed(advbench, alpaca):
    path = advbench(goals(5))
    message = complaint(lambda: datasets.load("mixed_small", {"harmful": 4}, {"harmful": 3}, 0, harmful=path))
    assert "5 distinct prompts, 7 are needed (4 train + 3 val)" in message
    path = alpaca(instructions(2))
    message = complaint(lambda: datasets.load("mixed_small", {"benign": 3}, 0, 0, benign=path))
    assert "2 distinct prompts, 3 are needed" in message


def test_a_hub_source_is_a_named_file_of_a_data_set(advbench, monkeypatch):
    calls = []
    path = advbench(goals(2))
    monkeypatch.setattr(sources.HfApi, "dataset_info", lambda self, name, timeout: None)
    monkeypatch.setattr(sources, "hf_hub_download", lambda *args, **kind: calls.append((args, kind)) or path)
    assert sources.advbench("hub:owner/name/folder/file.csv") == goals(2)
    assert calls == [(("owner/name", "folder/file.csv"), {"repo_type": "dataset", "local_files_only": False})]
    assert "write hub:owner/name/path/to/file" in complaint(lambda: sources.advbench("hub:owner/file.csv"))


def test_an_unreachable_hub_is_reported_in_one_line(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = complaint(lambda: sources.alpaca("hub:nobody/nothing/x.json"))
    assert message.startswith("hub:nobody/nothing/x.json: could not be fetched from the hub (")
    assert message.endswith("check name and network, or give a local file")


def test_published_requests_are_refused_with_the_embedded_refusals(advbench):
    split = datasets.load("harmfulcheck", {"harmful": 5}, 0, 0, harmful=advbench(goals(5)))
    assert {e.response for e in split.train} <= set(harmful.REFUSALS)


def test_without_a_network_the_hub_is_tried_once_and_cached_files_are_used(tmp_path, monkeypatch):
    calls = []

    def unreachable(self, name, timeout):
        calls.append(name)
        raise HTTPError("no network")

    def download(name, file, repo_type, local_files_only):
        assert local_files_only
        if file == "here.csv":
            return str(tmp_path / file)
        raise OSError("not in the cache")

    monkeypatch.setattr(sources.HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(sources, "hf_hub_download", download)
    assert sources.fetch("hub:a/b/here.csv") == tmp_path / "here.csv"
    message = "hub:a/b/there.csv: could not be fetched from the hub .*; check name and network, or give"
    with pytest.raises(ValueError, match=message):
        sources.fetch("hub:a/b/there.csv")
    assert calls == ["a/b", "a/b"]
